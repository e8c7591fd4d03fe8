"""RFC 9111 decisions, one row each; http-sf is the oracle for what we write."""

from __future__ import annotations

from email.utils import formatdate
from time import perf_counter

import http_sf
import pytest

from dohost.gateway.cache import CacheEntry, Fresh, Miss, Stale, judge
from dohost.gateway.cache_control import DELTA_MAX, CacheControl, parse_cache_control
from dohost.gateway.cache_groups import group_tags, invalidation_tags
from dohost.gateway.cache_policy import (
    ExchangeFacts,
    NotStored,
    entry_for,
    refreshed,
    rpc_entry,
)
from dohost.gateway.cache_serve import (
    forward_status,
    hit_status,
    is_only_if_cached,
    not_modified,
    response_headers,
    usable,
    validators,
)
from dohost.gateway.config_tables import CacheConfig, RouteCache

SECOND = 1_000_000_000
NOW_S = 1_790_000_000
NOW = NOW_S * SECOND
OFF = RouteCache()


def stored(
    *headers: tuple[str, str],
    request: dict[str, str] | None = None,
    config: CacheConfig | None = None,
    **facts: object,
) -> CacheEntry | NotStored:
    given = {"method": "GET", "status": 200, "body": b"{}", "path": "/x", **facts}
    exchange = ExchangeFacts(headers=headers, request_headers=request or {}, **given)  # type: ignore[arg-type]  # rows of a table
    return entry_for(exchange, config or CacheConfig(), now_ns=NOW)


def kept(*headers: tuple[str, str], **facts: object) -> CacheEntry:
    found = stored(*headers, **facts)  # type: ignore[arg-type]  # rows of a table
    assert isinstance(found, CacheEntry), found
    return found


def control(text: str) -> tuple[str, str]:
    return ("Cache-Control", text)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("max-age=60", 60),
        ("max-age=60, s-maxage=10", 10),
        ("max-age=60, max-age=30", 30),
        ('max-age="60"', 60),
        ("MAX-AGE=60", 60),
        ("max-age=99999999999999999999", DELTA_MAX),
    ],
)
def test_freshness_is_what_the_upstream_says(header: str, seconds: int) -> None:
    assert kept(control(header)).ttl_s(NOW) == seconds


@pytest.mark.parametrize("header", ["max-age=1.5", "max-age=-1", "max-age=x", "max-age"])
def test_a_number_that_cannot_be_read_is_stale(header: str) -> None:
    assert stored(control(header)) == NotStored("never fresh")


def test_a_targeted_field_replaces_cache_control_if_it_parses() -> None:
    targeted = ("CDN-Cache-Control", "max-age=5")
    assert kept(control("no-store"), targeted).ttl_s(NOW) == 5
    broken = ("CDN-Cache-Control", "max-age=5;;, ?")
    assert stored(control("no-store"), broken) == NotStored("no-store")


def test_expires_counts_from_date_and_an_unreadable_one_is_past() -> None:
    date = ("Date", formatdate(NOW_S, usegmt=True))
    assert kept(date, ("Expires", formatdate(NOW_S + 90, usegmt=True))).ttl_s(NOW) == 90
    assert stored(date, ("Expires", "0")) == NotStored("never fresh")


def test_age_is_subtracted_and_carried_on() -> None:
    found = kept(control("max-age=60"), ("Age", "20"))
    assert found.ttl_s(NOW) == 40
    assert dict(response_headers(found, NOW + 5 * SECOND))["Age"] == "25"
    old = kept(control("max-age=60"), ("Date", formatdate(NOW_S - 15, usegmt=True)))
    assert old.ttl_s(NOW) == 45


@pytest.mark.parametrize(
    ("age", "left"), [("20, 30", 40), ("0, 0", 60), ("20.5", 60), ("-20", 60), ("old, 20", 60)]
)
def test_of_a_list_of_ages_the_first_counts_and_no_number_is_no_age(age: str, left: int) -> None:
    assert kept(control("max-age=60"), ("Age", age)).ttl_s(NOW) == left


def test_must_understand_is_about_the_status_and_stands_above_no_store() -> None:
    both = control("max-age=60, must-understand, no-store")
    assert kept(both).ttl_s(NOW) == 60
    assert stored(both, status=599) == NotStored("must-understand")
    assert stored(both, request={"cache-control": "no-store"}) == NotStored("no-store")


def test_a_tenth_of_the_age_is_the_heuristic_if_it_is_on() -> None:
    headers = (
        ("Date", formatdate(NOW_S, usegmt=True)),
        ("Last-Modified", formatdate(NOW_S - 1_000, usegmt=True)),
    )
    assert kept(*headers, config=CacheConfig(heuristic=True)).ttl_s(NOW) == 100
    year = (headers[0], ("Last-Modified", formatdate(NOW_S - 10**8, usegmt=True)))
    assert kept(*year, config=CacheConfig(heuristic=True)).ttl_s(NOW) == 86_400
    assert kept(*headers).ttl_s(NOW) == 0


def test_configured_lifetimes_are_the_last_resort() -> None:
    assert kept(config=CacheConfig(ttl=7)).ttl_s(NOW) == 7
    assert kept(route=RouteCache(ttl=9), config=CacheConfig(ttl=7)).ttl_s(NOW) == 9
    assert kept(status=404, config=CacheConfig(ttl=7, negative_ttl=3)).ttl_s(NOW) == 3
    assert kept(status=501, config=CacheConfig(ttl=7, negative_ttl=3)).ttl_s(NOW) == 1
    assert isinstance(stored(status=201, config=CacheConfig(ttl=7)), NotStored)
    assert kept(control("max-age=5"), status=201).ttl_s(NOW) == 5


def test_jitter_shortens_a_configured_lifetime_only() -> None:
    config = CacheConfig(ttl=100, jitter=0.5)
    exchange = ExchangeFacts(
        method="GET", request_headers={}, status=200, headers=(), body=b"", path="/"
    )
    found = entry_for(exchange, config, now_ns=NOW, jitter=0.5)
    assert isinstance(found, CacheEntry)
    assert found.ttl_s(NOW) == 75


FRESH = control("max-age=60")


@pytest.mark.parametrize(
    ("reason", "headers", "facts"),
    [
        ("method", [FRESH], {"method": "POST"}),
        ("method", [FRESH], {"method": "HEAD"}),
        ("status", [FRESH], {"status": 206}),
        ("status", [FRESH], {"status": 304}),
        ("status", [FRESH], {"status": 101}),
        ("no-store", [control("no-store, max-age=60")], {}),
        ("no-store", [FRESH], {"request": {"cache-control": "no-store"}}),
        ("private", [control("private, max-age=60")], {}),
        ("the request had a credential", [FRESH], {"request": {"authorization": "Bearer x"}}),
        ("the request had a credential", [FRESH], {"request": {"x-api-key": "k"}}),
        ("the request had a credential", [FRESH], {"request": {"cookie": "a=b"}}),
        ("set-cookie", [FRESH, ("Set-Cookie", "a=b")], {}),
        ("vary", [FRESH, ("Vary", "Accept, *")], {}),
        ("too large", [FRESH], {"body": b"x" * 1_048_577}),
        ("the cache is off", [FRESH], {"config": CacheConfig(enabled=False)}),
        ("never fresh", [], {}),
    ],
)
def test_what_is_never_stored(
    reason: str, headers: list[tuple[str, str]], facts: dict[str, object]
) -> None:
    assert stored(*headers, **facts) == NotStored(reason)  # type: ignore[arg-type]  # rows of a table


@pytest.mark.parametrize("extra", ["public", "s-maxage=60", "must-revalidate"])
def test_an_answer_for_a_credential_is_kept_if_it_says_so_itself(extra: str) -> None:
    kept(control(f"max-age=60, {extra}"), request={"authorization": "Bearer x"})


def test_an_answer_for_a_credential_is_kept_in_a_partition_the_route_chose() -> None:
    kept(FRESH, request={"authorization": "Bearer x"}, scoped=True)


def test_cookies_are_kept_only_on_request() -> None:
    cookie = ("Set-Cookie", "a=b")
    assert cookie in kept(FRESH, cookie, config=CacheConfig(store_cookies=True)).headers


def test_what_was_said_about_one_exchange_is_not_kept() -> None:
    found = kept(
        control('max-age=60, no-cache="x-a", private="x-b"'),
        ("Connection", "close, X-Hop"),
        ("X-Hop", "1"),
        ("X-A", "1"),
        ("X-B", "1"),
        ("RateLimit", '"a";r=1'),
        ("X-RateLimit-Limit", "1"),
        ("X-Request-ID", "r"),
        ("Content-Type", "text/plain"),
    )
    assert [name for name, _ in found.headers] == ["Cache-Control", "Content-Type"]
    assert found.ttl_s(NOW) == 60


def test_no_cache_is_kept_for_revalidation_only() -> None:
    found = kept(control("no-cache, max-age=60"), ("ETag", '"1"'))
    assert judge(found, NOW) == Stale(found, 0, False, False)
    assert validators(found) == (("If-None-Match", '"1"'),)


SWR = "max-age=10, stale-while-revalidate=20, stale-if-error=30"


def test_stale_windows_follow_rfc_5861() -> None:
    found = kept(control(SWR))
    assert judge(found, NOW + 29 * SECOND) == Stale(found, -19, True, True)
    assert judge(found, NOW + 39 * SECOND) == Stale(found, -29, False, True)
    assert judge(found, NOW + 40 * SECOND) == Stale(found, -30, False, False)


@pytest.mark.parametrize(
    "strict", ["must-revalidate", "proxy-revalidate", "s-maxage=10", "no-cache"]
)
def test_stale_is_never_served_where_it_is_forbidden(strict: str) -> None:
    found = kept(
        control(f"{SWR}, {strict}"), ("ETag", '"1"'), config=CacheConfig(stale_if_error=99)
    )
    verdict = judge(found, NOW + 11 * SECOND)
    assert isinstance(verdict, Stale)
    assert not verdict.revalidate
    assert not verdict.if_error
    asked = usable(verdict, {"cache-control": "max-stale"}, config=CacheConfig(), now_ns=NOW)
    assert asked == verdict


@pytest.mark.parametrize(
    ("directive", "served"),
    [
        ("no-cache", False),
        ("max-age=5", False),
        ("max-age=6", True),
        ("min-fresh=54", True),
        ("min-fresh=55", False),
        ("no-store", True),
        ("", True),
    ],
)
def test_a_request_can_ask_for_more_freshness(directive: str, served: bool) -> None:
    found, now = kept(FRESH), NOW + 6 * SECOND
    lookup = usable(
        judge(found, now), {"cache-control": directive}, config=CacheConfig(), now_ns=now
    )
    assert isinstance(lookup, Fresh) == served
    deaf = CacheConfig(honour_request_directives=False)
    assert isinstance(
        usable(judge(found, now), {"cache-control": directive}, config=deaf, now_ns=now), Fresh
    )


def test_a_request_can_accept_staleness() -> None:
    found, now = kept(FRESH), NOW + 70 * SECOND
    for directive, served in (("max-stale=9", False), ("max-stale=10", True), ("max-stale", True)):
        lookup = usable(
            judge(found, now), {"cache-control": directive}, config=CacheConfig(), now_ns=now
        )
        assert isinstance(lookup, Stale)
        assert lookup.revalidate == served
    pragma = usable(judge(found, NOW), {"pragma": "no-cache"}, config=CacheConfig(), now_ns=NOW)
    assert pragma == Miss("request", found)
    assert is_only_if_cached({"cache-control": "only-if-cached"}, config=CacheConfig())


@pytest.mark.parametrize(
    ("request_headers", "unchanged"),
    [
        ({"if-none-match": '"1"'}, True),
        ({"if-none-match": 'W/"1"'}, True),
        ({"if-none-match": '"0", "1"'}, True),
        ({"if-none-match": "*"}, True),
        ({"if-none-match": '"2"', "if-modified-since": formatdate(NOW_S, usegmt=True)}, False),
        ({"if-modified-since": formatdate(NOW_S, usegmt=True)}, True),
        ({"if-modified-since": formatdate(NOW_S - 1, usegmt=True)}, False),
        ({"if-modified-since": "nonsense"}, False),
        ({}, False),
    ],
)
def test_conditional_requests_are_answered_from_the_store(
    request_headers: dict[str, str], unchanged: bool
) -> None:
    modified = ("Last-Modified", formatdate(NOW_S, usegmt=True))
    found = kept(FRESH, ("ETag", 'W/"1"'), modified)
    assert not_modified(found, request_headers) == unchanged


@pytest.mark.parametrize(("dated", "since"), [(True, NOW_S - 5), (False, NOW_S)])
def test_without_last_modified_the_answers_own_date_counts(dated: bool, since: int) -> None:
    date = [("Date", formatdate(NOW_S - 5, usegmt=True))] if dated else []
    found = kept(FRESH, *date)
    for seconds, unchanged in ((since, True), (since - 1, False)):
        asked = {"if-modified-since": formatdate(seconds, usegmt=True)}
        assert not_modified(found, asked) == unchanged


def test_a_304_refreshes_the_entry_but_for_what_is_about_its_bytes() -> None:
    found = kept(FRESH, ("ETag", '"1"'), ("Content-Type", "a/b"), ("Cache-Tag", "t"))
    newer = (control("max-age=90"), ("Content-Type", "c/d"), ("Content-Length", "0"))
    later = NOW + 60 * SECOND
    again, is_kept = refreshed(found, newer, route=OFF, config=CacheConfig(), now_ns=later)
    assert is_kept
    assert again.ttl_s(NOW + 60 * SECOND) == 90
    fields = dict(again.headers)
    assert fields["Content-Type"] == "c/d"
    assert "ETag" in fields
    assert "Content-Length" not in fields
    assert again.body == found.body
    assert again.tags == {"t"}


def test_rpc_results_live_for_their_ttl() -> None:
    config = CacheConfig(stale_while_revalidate=5)
    found = rpc_entry(b"1", ttl_s=30, tags=frozenset({"t"}), config=config, now_ns=NOW)
    assert isinstance(judge(found, NOW + 29 * SECOND), Fresh)
    assert judge(found, NOW + 34 * SECOND) == Stale(found, -4, True, False)


def test_groups_and_tags_of_answers() -> None:
    headers = (
        ("Cache-Groups", '"a", "b;c"; x=1'),
        ("Cache-Tag", "d, e"),
        ("Surrogate-Key", "f g"),
    )
    assert group_tags(headers) == {"a", "b;c", "d", "e", "f", "g"}
    assert invalidation_tags([("Cache-Group-Invalidation", '"a\\"q"')]) == {'a"q'}
    for broken in ("a", '"a', '"a",', '"a" "b"'):
        assert invalidation_tags([("Cache-Group-Invalidation", broken)]) == frozenset()


def test_the_oracle_reads_our_cache_status() -> None:
    found = kept(FRESH)
    member = http_sf.parse(hit_status(found, NOW + 64 * SECOND).encode(), tltype="list")[0]
    assert member == ("dohost", {"hit": True, "ttl": -4})
    text = forward_status("stale", status=304, stored=True, collapsed=True)
    member = http_sf.parse(text.encode(), tltype="list")[0]
    expected = {"fwd": "stale", "fwd-status": 304, "stored": True, "collapsed": True}
    assert (str(member[0]), {k: str(v) if k == "fwd" else v for k, v in member[1].items()}) == (
        "dohost",
        expected,
    )


def test_directives_are_read_past_garbage() -> None:
    found = parse_cache_control(['@@, max-age=1, ext="a, no-store", =,,public'])
    assert found.max_age == 1
    assert found.public
    assert not found.no_store


HOSTILE = [
    "a=" + " " * 2_000 + '"',
    "a" + " " * 2_000 + '"',
    "a=" + 'x="\\",' * 330,
    'a="' + "\\" * 2_000,
    "," * 2_000,
    "a=" + " " * 1_000_000 + '"',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_field_is_read_in_a_moment(text: str) -> None:
    began = perf_counter()
    assert parse_cache_control([text]).max_age is None
    assert (
        group_tags([("Cache-Groups", text), ("Cache-Groups", '"a"' + ";" * 2_000 + '"')]) == set()
    )
    # The shortest of them took minutes; a slow machine needs a hundredth of a second.
    assert perf_counter() - began < 2


def test_a_field_that_is_too_long_to_be_sensible_forbids_to_store() -> None:
    assert parse_cache_control(["max-age=60, x=" + "y" * 2_034]).max_age == 60
    assert parse_cache_control(["max-age=60, x=" + "y" * 2_035]) == CacheControl(no_store=True)
