"""Response cache: entries, the verdict on one, and a bounded store.

A lookup is a verdict about a value at an instant: fresh, stale but servable while it is refreshed,
servable only if the upstream fails, or a miss. The store keeps at most so many bytes and entries and
drops the least recently used. RPC results and HTTP responses are both entries: bytes with a lifetime,
tags, and for HTTP a status and headers; a null result is an entry like any other. What may be stored at
all is `cache_policy.py`'s business, and who may see it is in the key.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from msgspec import Struct

from dohost.gateway.cache_keys import vary_key
from dohost.gateway.config_tables import CacheConfig

SECOND_NS = 1_000_000_000
# Python objects around the bytes of an entry, measured once on CPython 3.11.
ENTRY_OVERHEAD_BYTES = 600


class CacheEntry(Struct, frozen=True, kw_only=True, weakref=True):
    """A stored answer. Instants in nanoseconds; `status` 0 marks an RPC result."""

    body: bytes
    stored_ns: int
    fresh_until_ns: int
    swr_until_ns: int = 0
    sie_until_ns: int = 0
    must_revalidate: bool = False
    initial_age_s: int = 0
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    tags: frozenset[str] = frozenset()
    vary: tuple[str, ...] = ()
    path: str = ""

    @property
    def size(self) -> int:
        """What the entry costs, in bytes."""
        text = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.body) + text + sum(map(len, self.tags)) + ENTRY_OVERHEAD_BYTES

    def ttl_s(self, now_ns: int) -> int:
        """Return the seconds of freshness left, negative for a stale entry."""
        return (self.fresh_until_ns - now_ns) // SECOND_NS

    def age_s(self, now_ns: int) -> int:
        """Return the age to put into the Age field."""
        return self.initial_age_s + max(0, now_ns - self.stored_ns) // SECOND_NS


class Fresh(Struct, frozen=True):
    """Serve it."""

    entry: CacheEntry
    ttl_s: int


class Stale(Struct, frozen=True):
    """Past its lifetime. `revalidate`: serve it now and refresh it in the background; `if_error`:
    serve it if the upstream fails; neither: only its validators are of use."""

    entry: CacheEntry
    ttl_s: int
    revalidate: bool
    if_error: bool


class Miss(Struct, frozen=True):
    """Nothing to serve; `reason` is a Cache-Status fwd token (`uri-miss`, `vary-miss`, …).

    `entry`: what is kept all the same, of use once the service has said that it still holds.
    """

    reason: str
    entry: CacheEntry | None = None


CacheLookup = Fresh | Stale | Miss


class CacheStats(Struct, kw_only=True):
    """Counters for `/api/cache/stats`."""

    valid: int = 0
    expired: int = 0
    total: int = 0
    hits: int = 0
    misses: int = 0
    stale: int = 0
    coalesced: int = 0
    bytes: int = 0


class CacheStore(Protocol):
    """Durable copy of the entries; every call is synchronous and its owner may coalesce writes."""

    def load(self) -> Iterable[tuple[str, CacheEntry]]: ...
    def save(self, key: str, entry: CacheEntry) -> None: ...
    def drop(self, keys: Iterable[str]) -> None: ...


class MemoryStore:
    """A store that forgets with the object."""

    def load(self) -> Iterable[tuple[str, CacheEntry]]:
        """Return nothing: nothing was kept."""
        return ()

    def save(self, key: str, entry: CacheEntry) -> None:
        """Keep nothing beyond the cache's own memory."""

    def drop(self, keys: Iterable[str]) -> None:
        """Have nothing to drop."""


class Cache:
    """Entries of one gateway object."""

    def __init__(self, config: CacheConfig, store: CacheStore) -> None:
        self._config = config
        self._store = store
        self._entries: OrderedDict[str, CacheEntry] = OrderedDict()
        self._variants: dict[str, dict[str, tuple[str, ...]]] = {}
        self._by_tag: dict[str, set[str]] = {}
        self._counts = CacheStats()
        for key, entry in store.load():
            self._insert(key, entry)

    def __repr__(self) -> str:
        return f"<Cache {len(self._entries)} entries, {self._counts.bytes} bytes>"

    def lookup(self, key: str, now_ns: int) -> CacheLookup:
        """Return the verdict on a key (RPC), counting it."""
        entry = self._entries.get(key)
        if entry is None:
            return self._counted(Miss("uri-miss"))
        self._entries.move_to_end(key)
        return self._counted(judge(entry, now_ns))

    def lookup_http(self, key: str, headers: Mapping[str, str], now_ns: int) -> CacheLookup:
        """Return the verdict on a GET: picks the variant by Vary; header names in lower case."""
        found = self._variant(key, headers)
        if found is None:
            return self._counted(Miss("vary-miss" if key in self._variants else "uri-miss"))
        return self.lookup(found, now_ns)

    def peek(self, key: str, now_ns: int) -> CacheLookup:
        """Answer as `lookup`, counting nothing and touching nothing."""
        entry = self._entries.get(key)
        return Miss("uri-miss") if entry is None else judge(entry, now_ns)

    def peek_http(self, key: str, headers: Mapping[str, str], now_ns: int) -> CacheLookup:
        """Answer as `lookup_http`, counting nothing and touching nothing."""
        found = self._variant(key, headers)
        if found is None:
            return Miss("vary-miss" if key in self._variants else "uri-miss")
        return self.peek(found, now_ns)

    def find(self, key: str, headers: Mapping[str, str]) -> tuple[str, CacheEntry] | None:
        """Return the entry of a GET's variant under its full key, whatever its age."""
        full = self._variant(key, headers)
        entry = None if full is None else self._entries.get(full)
        return None if full is None or entry is None else (full, entry)

    def has_fresh(self, full: str, entry: CacheEntry, now_ns: int) -> bool:
        """True if this very entry is held under its full key, and fresh."""
        return self._entries.get(full) is entry and now_ns < entry.fresh_until_ns

    def count_hit(self) -> None:
        """Count a request that was answered without a `lookup`."""
        self._counts.hits += 1

    def put(self, key: str, entry: CacheEntry, *, variant: str = "") -> bool:
        """Keep an entry; False if it is larger than an entry may be.

        `variant` is `vary_key(entry.vary, request_headers)` for an HTTP response.
        """
        full = f"{key}\n{variant}" if variant else key
        self._remove([full])
        if len(entry.body) > self._config.entry_bytes_max or entry.size > self._config.bytes_max:
            self._store.drop([full])
            return False
        self._insert(full, entry)
        self._store.save(full, entry)
        self._shrink()
        return True

    def remove(self, key: str, *, variant: str = "") -> None:
        """Drop one entry, if it is there; the arguments are those of `put`."""
        self._drop([f"{key}\n{variant}" if variant else key])

    def clear(self, *, tag: str | None = None, prefix: str | None = None) -> int:
        """Drop everything, or what has the tag and whose path begins with the prefix; return how
        many."""
        keys = list(self._entries if tag is None else self._by_tag.get(tag, ()))
        if prefix is not None:
            keys = [key for key in keys if has_prefix(self._entries[key].path, prefix)]
        return self._drop(keys)

    def invalidate(self, tags: Iterable[str]) -> int:
        """Drop every entry that has one of the tags, in all partitions."""
        keys: set[str] = set()
        for tag in tags:
            keys |= self._by_tag.get(tag, set())
        return self._drop(list(keys))

    def invalidate_paths(self, paths: Collection[str]) -> int:
        """Drop every entry of these paths, in all variants and partitions, as an unsafe method does."""
        return self._drop([key for key, entry in self._entries.items() if entry.path in paths])

    def count_coalesced(self) -> None:
        """Count a request that was answered by another one's fetch."""
        self._counts.coalesced += 1

    def stats(self, now_ns: int) -> CacheStats:
        """Return the counters and what is held now."""
        counts, total = self._counts, len(self._entries)
        valid = sum(entry.fresh_until_ns > now_ns for entry in self._entries.values())
        return CacheStats(
            valid=valid,
            expired=total - valid,
            total=total,
            hits=counts.hits,
            misses=counts.misses,
            stale=counts.stale,
            coalesced=counts.coalesced,
            bytes=counts.bytes,
        )

    def _variant(self, key: str, headers: Mapping[str, str]) -> str | None:
        """Return the full key of the variant that these headers select, the newest first."""
        variants = self._variants.get(key)
        if variants is None:
            return None
        if len(variants) == 1 and "" in variants:
            return key
        for vary in dict.fromkeys(reversed(variants.values())):
            variant = vary_key(vary, headers)
            if variant in variants:
                return f"{key}\n{variant}"
        return None

    def _counted(self, lookup: CacheLookup) -> CacheLookup:
        match lookup:
            case Fresh():
                self._counts.hits += 1
            case Stale(revalidate=True):
                self._counts.stale += 1
            case _:
                self._counts.misses += 1
        return lookup

    def _insert(self, full: str, entry: CacheEntry) -> None:
        self._entries[full] = entry
        self._counts.bytes += entry.size + len(full)
        primary, newline, variant = full.partition("\n")
        if newline:
            self._variants.setdefault(primary, {})[variant] = entry.vary
        for tag in entry.tags:
            self._by_tag.setdefault(tag, set()).add(full)

    def _remove(self, keys: Iterable[str]) -> int:
        """Forget entries in memory and in every index."""
        removed = 0
        for full in keys:
            entry = self._entries.pop(full, None)
            if entry is None:
                continue
            removed += 1
            self._counts.bytes -= entry.size + len(full)
            primary, newline, variant = full.partition("\n")
            if newline:
                variants = self._variants[primary]
                del variants[variant]
                if not variants:
                    del self._variants[primary]
            for tag in entry.tags:
                tagged = self._by_tag[tag]
                tagged.discard(full)
                if not tagged:
                    del self._by_tag[tag]
        return removed

    def _drop(self, keys: list[str]) -> int:
        removed = self._remove(keys)
        if removed:
            self._store.drop(keys)
        return removed

    def _shrink(self) -> None:
        """Drop the least recently used until both limits hold."""
        victims: list[str] = []
        excess = self._counts.bytes - self._config.bytes_max
        count = len(self._entries) - self._config.entries_max
        for key, entry in self._entries.items():
            if excess <= 0 and count <= 0:
                break
            victims.append(key)
            excess -= entry.size + len(key)
            count -= 1
        if victims:
            self._drop(victims)


def judge(entry: CacheEntry, now_ns: int) -> CacheLookup:
    """Return the verdict on an entry at an instant."""
    ttl_s = entry.ttl_s(now_ns)
    if now_ns < entry.fresh_until_ns:
        return Fresh(entry, ttl_s)
    return Stale(entry, ttl_s, now_ns < entry.swr_until_ns, now_ns < entry.sie_until_ns)


def has_prefix(path: str, prefix: str) -> bool:
    """True if `path` is `prefix` or below it; a prefix that ends in "/" stands for what is below."""
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/")
