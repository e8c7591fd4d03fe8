"""RFC 9111 for a shared cache, as decisions on headers: may an answer be stored, for how long is it
fresh, may a request be served from it. Nothing here stores anything. Header names are in lower case
throughout, but for those that an upstream sent, which keep their spelling.

Who may see an answer is decided by the key's partition; here it is only asked whether the answer of a
request with a credential may be kept at all (§3.5): if it says so itself, or if the route was given a
partition of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus

import msgspec
from msgspec import Struct

from dohost.gateway.cache import SECOND_NS, CacheEntry
from dohost.gateway.cache_control import CacheControl, parse_cache_control, parse_targeted
from dohost.gateway.cache_groups import group_tags, plain_tag
from dohost.gateway.config_tables import CacheConfig, RouteCache
from dohost.gateway.headers import without_hop_by_hop

Header = tuple[str, str]
Fields = Mapping[str, Sequence[str]]
HEURISTIC = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
NEGATIVE = frozenset({404, 405, 410, 414})
HEURISTIC_MAX_S = 86_400
# The final statuses whose caching RFC 9110 defines; an unknown one is treated by its first digit.
UNDERSTOOD = frozenset(status.value for status in HTTPStatus) - {206, 304}
ERROR_TTL_MAX_S = 1
NO_ROUTE = RouteCache()
# What the stored bytes are, which no 304 can change.
OF_THE_BODY = frozenset(
    {
        "content-digest",
        "content-encoding",
        "content-length",
        "content-md5",
        "content-range",
        "repr-digest",
        "transfer-encoding",
    }
)
CREDENTIALS = frozenset({"authorization", "x-api-key", "cookie"})
# Said about one exchange, not about the answer.
NOT_KEPT = frozenset(
    {"age", "ratelimit", "ratelimit-policy", "retry-after", "x-request-id", "traceparent"}
)


class ExchangeFacts(Struct, frozen=True, kw_only=True):
    """A finished exchange whose answer might be stored.

    `scoped`: the route chose the tenant's or the principal's partition itself.
    """

    method: str
    request_headers: Mapping[str, str]
    status: int
    headers: tuple[Header, ...]
    body: bytes
    path: str
    scoped: bool = False
    route: RouteCache = NO_ROUTE


class NotStored(Struct, frozen=True):
    """Why an answer is not stored."""

    reason: str


class Lifetime(Struct, frozen=True):
    """Seconds of freshness, and whether the upstream said so itself."""

    seconds: int
    is_explicit: bool


def entry_for(
    facts: ExchangeFacts, config: CacheConfig, *, now_ns: int, jitter: float = 0.0
) -> CacheEntry | NotStored:
    """Return the entry to store for an exchange.

    `jitter` in [0, 1) shortens a configured lifetime by up to the configured share of it.
    """
    fields = fields_of(facts.headers)
    control = control_of(fields)
    refusal = refusal_of(facts, fields, control, config=config)
    if refusal is not None:
        return NotStored(refusal)
    lifetime = lifetime_of(facts, fields, control, config=config, now_ns=now_ns)
    seconds = 0 if control.no_cache else lifetime.seconds
    if not lifetime.is_explicit:
        if facts.status not in HEURISTIC:
            return NotStored("status without explicit freshness")
        seconds -= int(seconds * config.jitter * jitter)
    age_s = initial_age(fields, now_ns)
    strict = control.must_revalidate or control.proxy_revalidate or control.no_cache
    strict = strict or control.s_maxage is not None
    windows = (0, 0) if strict else stale_windows(facts.route, control, config=config)
    if seconds <= age_s and not any(windows) and not has_validator(fields):
        return NotStored("never fresh")
    fresh_until_ns = now_ns + (seconds - age_s) * SECOND_NS
    return CacheEntry(
        body=facts.body,
        stored_ns=now_ns,
        fresh_until_ns=fresh_until_ns,
        swr_until_ns=fresh_until_ns + windows[0] * SECOND_NS,
        sie_until_ns=fresh_until_ns + windows[1] * SECOND_NS,
        must_revalidate=strict,
        initial_age_s=age_s,
        status=facts.status,
        headers=kept_headers(facts.headers, control, config=config),
        tags=group_tags(facts.headers) | frozenset(map(plain_tag, facts.route.tags)),
        vary=vary_names(fields),
        path=facts.path,
    )


def rpc_entry(
    body: bytes, *, ttl_s: int, tags: frozenset[str], config: CacheConfig, now_ns: int
) -> CacheEntry:
    """Return the entry for an RPC result."""
    fresh_until_ns = now_ns + ttl_s * SECOND_NS
    return CacheEntry(
        body=body,
        stored_ns=now_ns,
        fresh_until_ns=fresh_until_ns,
        swr_until_ns=fresh_until_ns + config.stale_while_revalidate * SECOND_NS,
        sie_until_ns=fresh_until_ns + config.stale_if_error * SECOND_NS,
        tags=tags,
    )


def fields_of(headers: Sequence[Header]) -> dict[str, list[str]]:
    """Return every field's values by lower-case name."""
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(value)
    return fields


def control_of(fields: Fields) -> CacheControl:
    """Return the directives in force: a targeted field that parses replaces Cache-Control."""
    targeted = parse_targeted(fields.get("cdn-cache-control", ()))
    return parse_cache_control(fields.get("cache-control", ())) if targeted is None else targeted


def refusal_of(
    facts: ExchangeFacts, fields: Fields, control: CacheControl, *, config: CacheConfig
) -> str | None:
    """Return why the answer may not be stored at all."""
    if not config.enabled:
        return "the cache is off"
    if facts.method != "GET":
        return "method"
    if facts.status < 200 or facts.status in (206, 304):
        return "status"
    request = parse_cache_control([facts.request_headers.get("cache-control", "")])
    if control.must_understand and facts.status not in UNDERSTOOD:
        return "must-understand"
    # Beside must-understand, no-store is meant for caches that don't know of it (RFC 9111 §5.2.2.3).
    if (control.no_store and not control.must_understand) or request.no_store:
        return "no-store"
    if control.private:
        return "private"
    shareable = control.public or control.s_maxage is not None or control.must_revalidate
    if not (shareable or facts.scoped) and not CREDENTIALS.isdisjoint(facts.request_headers):
        return "the request had a credential"
    if "set-cookie" in fields and not config.store_cookies:
        return "set-cookie"
    if "vary" in fields and "*" in vary_names(fields):
        return "vary"
    return "too large" if len(facts.body) > config.entry_bytes_max else None


def lifetime_of(
    facts: ExchangeFacts,
    fields: Fields,
    control: CacheControl,
    *,
    config: CacheConfig,
    now_ns: int,
) -> Lifetime:
    """Return how long the answer is fresh from its origin on (§4.2.1), else what is configured."""
    for seconds in (control.s_maxage, control.max_age):
        if seconds is not None:
            return Lifetime(seconds, True)
    date = http_date(fields, "date")
    made = now_ns // SECOND_NS if date is None else date
    if "expires" in fields:
        expires = http_date(fields, "expires")
        # An unreadable date, "0" above all, means already expired.
        return Lifetime(0 if expires is None else max(0, expires - made), True)
    modified = http_date(fields, "last-modified")
    if config.heuristic and modified is not None and made > modified:
        return Lifetime(min((made - modified) // 10, HEURISTIC_MAX_S), False)
    ttl = config.ttl if facts.route.ttl is None else facts.route.ttl
    if facts.status in NEGATIVE:
        ttl = config.negative_ttl
    elif facts.status >= 500:
        ttl = min(config.negative_ttl, ERROR_TTL_MAX_S)
    return Lifetime(ttl, False)


def stale_windows(
    route: RouteCache, control: CacheControl, *, config: CacheConfig
) -> tuple[int, int]:
    """Return the seconds of stale-while-revalidate and stale-if-error (RFC 5861)."""
    swr, sie = control.stale_while_revalidate, control.stale_if_error
    if swr is None:
        swr = route.stale_while_revalidate or config.stale_while_revalidate
    if sie is None:
        sie = route.stale_if_error or config.stale_if_error
    return swr, sie


def initial_age(fields: Fields, now_ns: int) -> int:
    """Return the age an answer arrived with (§4.2.3), from its Date and its Age."""
    date = http_date(fields, "date")
    apparent = 0 if date is None else max(0, now_ns // SECOND_NS - date)
    # Of a list the first member counts (§5.1), and what is no number not at all.
    stated = next(iter(fields.get("age", ())), "").partition(",")[0].strip()
    if stated.isascii() and stated.isdigit() and len(stated) <= 10:
        return max(apparent, int(stated))
    return apparent


def kept_headers(
    headers: Sequence[Header], control: CacheControl, *, config: CacheConfig
) -> tuple[Header, ...]:
    """Return what is stored of an answer's headers."""
    dropped = NOT_KEPT | control.fields
    if not config.store_cookies:
        dropped |= {"set-cookie"}
    return tuple(
        (name, value)
        for name, value in without_hop_by_hop(headers)
        if name.lower() not in dropped and not name.lower().startswith("x-ratelimit-")
    )


def vary_names(fields: Fields) -> tuple[str, ...]:
    """Return the lower-case names in Vary, sorted."""
    if "vary" not in fields:
        return ()
    tokens = ",".join(fields["vary"]).split(",")
    return tuple(sorted({token.strip().lower() for token in tokens if token.strip()}))


def has_validator(fields: Fields) -> bool:
    """True if the answer can be revalidated."""
    return "etag" in fields or "last-modified" in fields


def values_of(headers: Sequence[Header], wanted: str) -> list[str]:
    """Return the values of every field of this (lower-case) name."""
    return [value for name, value in headers if name.lower() == wanted]


def http_date(fields: Fields, wanted: str) -> int | None:
    """Return a date field in Unix seconds; `None` if it is absent or unreadable."""
    return unix_date(fields[wanted][0]) if wanted in fields else None


def unix_date(text: str) -> int | None:
    """Return an HTTP-date in Unix seconds; `None` if it is unreadable."""
    try:
        parsed: datetime = parsedate_to_datetime(text)
        zoned = parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
        return int(zoned.timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def refreshed(
    entry: CacheEntry,
    headers: Sequence[Header],
    *,
    route: RouteCache,
    config: CacheConfig,
    now_ns: int,
) -> tuple[CacheEntry, bool]:
    """Return the entry after a 304 with these headers (§3.2), and whether it may still be kept.

    Fields about the stored bytes stay as they were; a 304 without a Date was made now.
    """
    newer = [(name, value) for name, value in headers if name.lower() not in OF_THE_BODY]
    replaced = {name.lower() for name, _ in newer}
    if "date" not in replaced:
        newer.append(("date", formatdate(now_ns // SECOND_NS, usegmt=True)))
        replaced.add("date")
    older = [(name, value) for name, value in entry.headers if name.lower() not in replaced]
    merged = (*older, *newer)
    facts = ExchangeFacts(
        method="GET",
        request_headers={},
        status=entry.status,
        headers=merged,
        body=entry.body,
        path=entry.path,
        scoped=True,
        route=route,
    )
    made = entry_for(facts, config, now_ns=now_ns)
    if isinstance(made, NotStored):
        control = control_of(fields_of(merged))
        shown = kept_headers(merged, control, config=config)
        return msgspec.structs.replace(entry, headers=shown, stored_ns=now_ns), False
    return msgspec.structs.replace(made, tags=made.tags | entry.tags), True
