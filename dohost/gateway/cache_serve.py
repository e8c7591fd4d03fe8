"""Serving from the cache: what a request's own directives say about a verdict, conditional requests, ranges,
and the fields that tell a client what happened (Age, Cache-Status).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from dohost.gateway.cache import SECOND_NS, CacheEntry, CacheLookup, Fresh, Miss, Stale
from dohost.gateway.cache_control import parse_cache_control
from dohost.gateway.cache_policy import unix_date, values_of
from dohost.gateway.config_tables import CacheConfig

Header = tuple[str, str]
Forward = Literal[
    "uri-miss", "vary-miss", "stale", "method", "bypass", "request", "miss", "partial"
]
# Longer numbers are no positions of what is kept here.
RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII | re.IGNORECASE)
ETAG = re.compile(r'(?:W/)?("[^"]*")')


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a stored body, or the refusal of one that it does not have."""

    status: Literal[206, 416]
    content_range: str
    body: bytes


def usable(
    lookup: CacheLookup, request_headers: Mapping[str, str], *, config: CacheConfig, now_ns: int
) -> CacheLookup:
    """Return the verdict after the request's own Cache-Control; header names in lower case."""
    if not config.honour_request_directives or isinstance(lookup, Miss):
        return lookup
    text = request_headers.get("cache-control")
    if text is None:
        is_refused = request_headers.get("pragma", "") == "no-cache"
        return Miss("request", lookup.entry) if is_refused else lookup
    control = parse_cache_control([text])
    too_old = control.max_age is not None and lookup.entry.age_s(now_ns) > control.max_age
    if control.no_cache or too_old:
        return Miss("request", lookup.entry)
    if isinstance(lookup, Fresh):
        is_short = control.min_fresh is not None and lookup.ttl_s < control.min_fresh
        return Miss("request", lookup.entry) if is_short else lookup
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
    # Without Last-Modified the date counts at which the answer was made, or came (RFC 9111 §4.3.2).
    dated = values_of(entry.headers, "last-modified") or values_of(entry.headers, "date")
    asked, last = unix_date(since), unix_date(dated[0]) if dated else entry.stored_ns // SECOND_NS
    return asked is not None and last is not None and last <= asked


def validators(entry: CacheEntry) -> tuple[Header, ...]:
    """Return If-None-Match and If-Modified-Since for revalidation."""
    pairs = (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since"))
    return tuple(
        (field, value) for name, field in pairs for value in values_of(entry.headers, name)[:1]
    )


def is_about(entry: CacheEntry, headers: Sequence[Header]) -> bool:
    """True unless a 304 names another strong ETag than the entry's: it is about something else (§4.3.4)."""
    told, mine = values_of(headers, "etag"), values_of(entry.headers, "etag")
    return not told or told[0].startswith("W/") or told[:1] == mine[:1]


def part_of(entry: CacheEntry, wanted: str, request_headers: Mapping[str, str]) -> Part | None:
    """Return what a Range field asks of a stored whole (RFC 9110 §14); None: answer with all of it.

    So it is for several ranges, other units, and an If-Range that names another version.
    """
    found = RANGE.fullmatch(wanted.strip())
    if entry.status != 200 or found is None or not _is_same_version(entry, request_headers):
        return None
    first, last = found.groups()
    size = len(entry.body)
    if first:
        start = int(first)
        end = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    elif last:
        start, end = max(0, size - int(last)), size
    else:
        return None
    if start >= end:
        return Part(status=416, content_range=f"bytes */{size}", body=b"")
    content_range = f"bytes {start}-{end - 1}/{size}"
    return Part(status=206, content_range=content_range, body=entry.body[start:end])


def _is_same_version(entry: CacheEntry, request_headers: Mapping[str, str]) -> bool:
    wanted = request_headers.get("if-range")
    if wanted is None:
        return True
    name = "etag" if wanted.endswith('"') else "last-modified"
    # A weak ETag does not promise the same bytes.
    return not wanted.startswith("W/") and values_of(entry.headers, name)[:1] == [wanted]


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
