"""The store and its verdicts: partitions, variants, bounds, tags, statistics."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohost.gateway.cache import Cache, CacheEntry, Fresh, MemoryStore, Miss, Stale, has_prefix
from dohost.gateway.cache_keys import canonical_json, http_key, partition, rpc_key, vary_key
from dohost.gateway.config_tables import CacheConfig

SECOND = 1_000_000_000
NOW = 1_790_000_000 * SECOND


class Disk:
    def __init__(self) -> None:
        self.rows: dict[str, CacheEntry] = {}

    def load(self) -> Iterable[tuple[str, CacheEntry]]:
        return list(self.rows.items())

    def save(self, key: str, entry: CacheEntry) -> None:
        self.rows[key] = entry

    def drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.rows.pop(key, None)


def entry(
    body: bytes = b"1", *, ttl: int = 30, tags: Iterable[str] = (), path: str = "/"
) -> CacheEntry:
    until = NOW + ttl * SECOND
    return CacheEntry(
        body=body, stored_ns=NOW, fresh_until_ns=until, tags=frozenset(tags), path=path
    )


def cache(**options: int) -> Cache:
    return Cache(CacheConfig(**options), MemoryStore())  # type: ignore[arg-type]  # numbers only


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


def same(a: object, b: object) -> bool:
    """Equality that keeps types apart, which Python's doesn't."""
    return repr(ordered(a)) == repr(ordered(b))


def ordered(value: object) -> object:
    if isinstance(value, dict):
        return ("object", [(key, ordered(value[key])) for key in sorted(value)])
    return [ordered(item) for item in value] if isinstance(value, list) else value


@given(one=JSON, other=JSON)
def test_keys_are_equal_iff_the_arguments_are(one: object, other: object) -> None:
    assert (canonical_json(one) == canonical_json(other)) == same(one, other)


def test_one_true_one_point_zero_and_text_stay_apart() -> None:
    values = [1, 1.0, True, "1", [1], None, "null", {"1": 1}]
    assert len({canonical_json(value) for value in values}) == len(values)
    with pytest.raises(TypeError):
        canonical_json({1: 1})


def test_partitions_of_tenants_principals_and_the_public_never_meet() -> None:
    partitions = {
        partition("public", tenant="a", subject="s"),
        partition("tenant", tenant="a", subject="s"),
        partition("tenant", tenant="b", subject="s"),
        partition("principal", tenant="a", subject="s"),
        partition("principal", tenant="a", subject='s", "x'),
        partition("principal", tenant="a/s", subject=None),
        partition("principal", tenant="a", subject=None),
    }
    assert len(partitions) == 7
    assert partition(None, tenant="anonymous", subject=None) == "public"
    # A tenant that a header, a host or a certificate named has no subject, and is not the public.
    assert partition(None, tenant="a", subject=None) == partition(
        "principal", tenant="a", subject=None
    )
    default = partition(None, tenant="a", subject="s")
    assert default == partition("principal", tenant="a", subject="s")


def test_keys_of_different_calls_never_meet() -> None:
    assert rpc_key("p", ("a", "b:c", "m"), []) != rpc_key("p", ("a:b", "c", "m"), [])
    keys = {
        http_key("p", "http://h/a?b=1&c=2", version=None),
        http_key("q", "http://h/a?b=1&c=2", version=None),
        http_key("p", "http://h/a?c=2&b=1", version=None),
        http_key("p", "http://h/a?b=1&c=2", version="v1"),
        http_key("p", "https://h/a?b=1&c=2", version=None),
        http_key("p", "http://other/a?b=1&c=2", version=None),
    }
    assert len(keys) == 6
    assert http_key("p", "http://H/%c3", version=None) == http_key(
        "p", "HTTP://h/%C3", version=None
    )
    assert http_key("p", "http://h/?b&a", version=None, sort_query=True) == http_key(
        "p", "http://h/?a&b", version=None, sort_query=True
    )


def test_fresh_then_stale_then_only_for_errors() -> None:
    made = CacheEntry(
        body=b"x",
        stored_ns=NOW,
        fresh_until_ns=NOW + 10 * SECOND,
        swr_until_ns=NOW + 20 * SECOND,
        sie_until_ns=NOW + 30 * SECOND,
    )
    store = cache()
    store.put("k", made)
    assert store.lookup("k", NOW + 10 * SECOND - 1) == Fresh(made, 0)
    assert store.lookup("k", NOW + 10 * SECOND) == Stale(made, 0, True, True)
    assert store.lookup("k", NOW + 20 * SECOND) == Stale(made, -10, False, True)
    assert store.lookup("k", NOW + 30 * SECOND) == Stale(made, -20, False, False)
    assert store.lookup("other", NOW) == Miss("uri-miss")
    stats = store.stats(NOW + 30 * SECOND)
    assert (stats.hits, stats.stale, stats.misses) == (1, 1, 3)
    assert (stats.valid, stats.expired, stats.total) == (0, 1, 1)


def test_a_null_result_is_cached_like_any_other() -> None:
    store = cache()
    store.put("k", entry(b"null"))
    assert isinstance(store.lookup("k", NOW), Fresh)


def test_a_peek_counts_nothing() -> None:
    store = cache()
    store.put("k", entry())
    assert isinstance(store.peek("k", NOW), Fresh)
    assert isinstance(store.peek_http("k", {}, NOW), Miss)
    assert store.stats(NOW).hits == store.stats(NOW).misses == 0


def test_vary_chooses_the_variant() -> None:
    store = cache()
    for language in ("de", "en"):
        headers = {"accept-language": language}
        made = CacheEntry(
            body=language.encode(),
            stored_ns=NOW,
            fresh_until_ns=NOW + SECOND,
            status=200,
            vary=("accept-language",),
        )
        variant = vary_key(made.vary, headers)
        assert variant is not None
        store.put("k", made, variant=variant)
    found = store.lookup_http("k", {"accept-language": " en "}, NOW)
    assert isinstance(found, Fresh)
    assert found.entry.body == b"en"
    assert store.lookup_http("k", {"accept-language": "fr"}, NOW) == Miss("vary-miss")
    assert store.lookup_http("x", {}, NOW) == Miss("uri-miss")
    assert store.clear() == 2
    assert store.lookup_http("k", {"accept-language": "en"}, NOW) == Miss("uri-miss")


def test_vary_star_has_no_key_and_absent_is_not_empty() -> None:
    assert vary_key(("*",), {}) is None
    assert vary_key(("x",), {}) != vary_key(("x",), {"x": ""})
    assert vary_key(("X", "a"), {"x": "1 ,2"}) == vary_key(("a", "x"), {"x": "1,  2"})


def test_blanks_in_a_varied_field_cost_no_more_than_their_number() -> None:
    began = perf_counter()
    assert vary_key(("x",), {"x": "a" + " " * 200_000 + "b"})
    # Tried from each blank on, these took more than a minute.
    assert perf_counter() - began < 2


def test_the_least_recently_used_goes_first() -> None:
    store = cache(entries_max=2)
    store.put("a", entry())
    store.put("b", entry())
    store.lookup("a", NOW)
    store.put("c", entry())
    assert isinstance(store.peek("a", NOW), Fresh)
    assert isinstance(store.peek("b", NOW), Miss)


def test_bytes_are_bounded_and_an_entry_may_not_be_too_large() -> None:
    store = cache(entry_bytes_max=1_000, bytes_max=5_000)
    assert store.put("fits", entry(b"x" * 1_000))
    assert not store.put("not", entry(b"x" * 1_001))
    for number in range(20):
        store.put(f"k{number}", entry(b"x" * 1_000))
        assert store.stats(NOW).bytes <= 5_000
    store.clear()
    assert store.stats(NOW).bytes == 0


def test_a_larger_answer_replaces_nothing_but_removes_the_old_one() -> None:
    disk = Disk()
    store = Cache(CacheConfig(entry_bytes_max=10), disk)
    store.put("k", entry(b"old"))
    assert not store.put("k", entry(b"x" * 11))
    assert isinstance(store.lookup("k", NOW), Miss)
    assert disk.rows == {}


def test_tags_and_prefixes_clear_what_they_name() -> None:
    store = cache()
    store.put("a", entry(tags=["user:1", "all"], path="/api/users/1"))
    store.put("b", entry(tags=["user:2", "all"], path="/api/users/2"))
    store.put("c", entry(path="/api/users-old"))
    assert store.invalidate(["user:1", "nobody"]) == 1
    assert store.clear(prefix="/api/users") == 1
    assert store.clear(tag="all") == 0
    assert store.invalidate_paths({"/api/users-old"}) == 1
    assert repr(store) == "<Cache 0 entries, 0 bytes>"


def test_a_prefix_ends_at_a_segment() -> None:
    assert has_prefix("/a/b", "/a")
    assert has_prefix("/a", "/a")
    assert has_prefix("/a/b", "/a/")
    assert not has_prefix("/ab", "/a")


def test_entries_survive_a_restart_with_their_variants() -> None:
    disk = Disk()
    variant = vary_key(("x",), {"x": "1"})
    assert variant is not None
    made = CacheEntry(body=b"", stored_ns=NOW, fresh_until_ns=NOW + SECOND, vary=("x",))
    Cache(CacheConfig(), disk).put("k", made, variant=variant)
    again = Cache(CacheConfig(), disk)
    assert isinstance(again.lookup_http("k", {"x": "1"}, NOW), Fresh)
    assert again.clear() == 1
    assert disk.rows == {}
