"""Serving from the cache: what a request's own directives say about a verdict, conditional requests,
and the fields that tell a client what happened (Age, Cache-Status).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from dohost.gateway.cache import CacheEntry, CacheLookup, Fresh, Miss, Stale
from dohost.gateway.cache_control import parse_cache_control
from dohost.gateway.cache_policy import unix_date, values_of
from dohost.gateway.config_tables import CacheConfig

Header = tuple[str, str]
Forward = Literal[
    "uri-miss", "vary-miss", "stale", "method", "bypass", "request", "miss", "partial"
]
ETAG = re.compile(r'(?:W/)?("[^"]*")')


def usable(
    lookup: CacheLookup, request_headers: Mapping[str, str], *, config: CacheConfig, now_ns: int
) -> CacheLookup:
    """Return the verdict after the request's own Cache-Control; header names in lower case."""
    if not config.honour_request_directives or isinstance(lookup, Miss):
        return lookup
    text = request_headers.get("cache-control")
    if text is None:
        return Miss("request") if request_headers.get("pragma", "") == "no-cache" else lookup
    control = parse_cache_control([text])
    too_old = control.max_age is not None and lookup.entry.age_s(now_ns) > control.max_age
    if control.no_cache or too_old:
        return Miss("request")
    if isinstance(lookup, Fresh):
        is_short = control.min_fresh is not None and lookup.ttl_s < control.min_fresh
        return Miss("request") if is_short else lookup
    if control.max_stale is not None and not lookup.entry.must_revalidate:
        within = -lookup.ttl_s <= control.max_stale
        return Stale(lookup.entry, lookup.ttl_s, lookup.revalidate or within, lookup.if_error)
    return lookup


def is_only_if_cached(request_headers: Mapping[str, str], *, config: CacheConfig) -> bool:
    """True if a miss must be answered 504."""
    text = request_headers.get("cache-control", "")
    return config.honour_request_directives and parse_cache_control([text]).only_if_cached


def not_modified(entry: CacheEntry, request_headers: Mapping[str, str]) -> bool:
    """True if the client has this answer already: a 304 will do (RFC 9110 §13.1)."""
    if entry.status != 200:
        return False
    wanted = request_headers.get("if-none-match")
    if wanted is not None:
        etags = values_of(entry.headers, "etag")
        if not etags:
            return False
        # Weak comparison: the opaque part alone counts.
        mine = ETAG.fullmatch(etags[0].strip())
        return wanted.strip() == "*" or (mine is not None and mine.group(1) in ETAG.findall(wanted))
    since = request_headers.get("if-modified-since")
    if since is None:
        return False
    modified = values_of(entry.headers, "last-modified")
    if not modified:
        return False
    asked, last = unix_date(since), unix_date(modified[0])
    return asked is not None and last is not None and last <= asked


def validators(entry: CacheEntry) -> tuple[Header, ...]:
    """Return If-None-Match and If-Modified-Since for revalidation."""
    pairs = (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since"))
    return tuple(
        (field, value) for name, field in pairs for value in values_of(entry.headers, name)[:1]
    )


def response_headers(entry: CacheEntry, now_ns: int) -> tuple[Header, ...]:
    """Return the stored headers with the Age that serving them now needs."""
    return (*entry.headers, ("Age", str(entry.age_s(now_ns))))


def hit_status(entry: CacheEntry, now_ns: int, *, detail: str | None = None) -> str:
    """Return the Cache-Status member (RFC 9211) for an answer from the cache."""
    more = "" if detail is None else f";detail={detail}"
    return f"dohost;hit;ttl={entry.ttl_s(now_ns)}{more}"


def forward_status(
    reason: str, *, status: int | None = None, stored: bool = False, collapsed: bool = False
) -> str:
    """Return the Cache-Status member for an answer that was fetched, and why."""
    parts = ["dohost", f"fwd={reason}"]
    if status is not None:
        parts.append(f"fwd-status={status}")
    if stored:
        parts.append("stored")
    if collapsed:
        parts.append("collapsed")
    return ";".join(parts)
