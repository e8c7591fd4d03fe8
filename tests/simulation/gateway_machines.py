"""State machines of the gateway beside ten-line models: the cache, and the limiter over crashes."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dohost.gateway.cache import Cache, CacheEntry, Fresh, MemoryStore, Miss, Stale
from dohost.gateway.config_tables import CacheConfig, Tier
from dohost.gateway.rate_limit import Allowed, Limiter, LimitPolicy

SECOND_NS = 1_000_000_000
keys = st.integers(0, 4)


class CacheMachine(RuleBasedStateMachine):
    """The cache against a dict of what was stored: by key, by tag, by time, over restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.rows: dict[str, CacheEntry] = {}
        self.store.load = lambda: list(self.rows.items())  # type: ignore[method-assign] # durable
        self.store.save = self.rows.__setitem__  # type: ignore[method-assign] # as above
        self.store.drop = self._drop  # type: ignore[method-assign] # as above
        self.cache = Cache(CacheConfig(), self.store)
        self.model: dict[str, CacheEntry] = {}
        self.now = 1_790_000_000 * SECOND_NS

    def _drop(self, keys: object) -> None:
        for key in list(keys):  # type: ignore[call-overload] # an iterable
            self.rows.pop(key, None)

    @rule(key=keys, ttl=st.integers(0, 5), grace=st.integers(0, 5), tag=keys)
    def put(self, key: int, ttl: int, grace: int, tag: int) -> None:
        entry = CacheEntry(
            body=b"x" * key,
            stored_ns=self.now,
            fresh_until_ns=self.now + ttl * SECOND_NS,
            swr_until_ns=self.now + (ttl + grace) * SECOND_NS,
            tags=frozenset({f"tag-{tag}"}),
            path=f"/{key}",
        )
        assert self.cache.put(f"key-{key}", entry)
        self.model[f"key-{key}"] = entry

    @rule(seconds=st.integers(0, 3))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds * SECOND_NS

    @rule(tag=keys)
    def invalidate(self, tag: int) -> None:
        gone = [key for key, entry in self.model.items() if f"tag-{tag}" in entry.tags]
        assert self.cache.invalidate([f"tag-{tag}"]) == len(gone)
        for key in gone:
            del self.model[key]

    @rule(key=keys)
    def change_path(self, key: int) -> None:
        assert self.cache.invalidate_paths({f"/{key}"}) == (f"key-{key}" in self.model)
        self.model.pop(f"key-{key}", None)

    @rule()
    def restart(self) -> None:
        self.cache = Cache(CacheConfig(), self.store)

    @invariant()
    def agrees(self) -> None:
        for number in range(5):
            key = f"key-{number}"
            found, entry = self.cache.lookup(key, self.now), self.model.get(key)
            if entry is None:
                assert isinstance(found, Miss)
            elif self.now < entry.fresh_until_ns:
                assert isinstance(found, Fresh)
                assert found.entry == entry
            else:
                assert isinstance(found, Stale)
                assert found.revalidate is (self.now < entry.swr_until_ns)


class Marks:
    """A durable store of marks."""

    def __init__(self) -> None:
        self._rows: dict[str, bytes] = {}

    def load(self, key: str) -> bytes | None:
        return self._rows.get(key)

    def save(self, key: str, mark: bytes) -> None:
        self._rows[key] = mark

    def drop(self, keys: object) -> None:
        for key in list(keys):  # type: ignore[call-overload] # an iterable
            self._rows.pop(key, None)

    def items(self) -> object:
        return list(self._rows.items())


class LimiterMachine(RuleBasedStateMachine):
    """A limit against a bucket of exact fractions; a crash may cost a lease, and never grants anew."""

    RPM, BURST = 60, 8
    LEASE = BURST // 4

    def __init__(self) -> None:
        super().__init__()
        self.store = Marks()
        self.limiter = Limiter(self.store)  # type: ignore[arg-type] # a store by protocol
        self.policy = LimitPolicy(name="tier", key="k", tier=Tier(rpm=self.RPM, burst=self.BURST))
        self.now = 1_790_000_000 * SECOND_NS
        # Between these two is what is left: they differ by what crashes have cost.
        self.most = self.least = Fraction(self.BURST)

    @rule(quarters=st.integers(0, 12))
    def pass_time(self, quarters: int) -> None:
        self.now += quarters * SECOND_NS // 4
        refill = Fraction(quarters * self.RPM, 4 * 60)
        self.most = min(Fraction(self.BURST), self.most + refill)
        self.least = min(Fraction(self.BURST), self.least + refill)

    @rule(cost=st.integers(1, 3))
    def ask(self, cost: int) -> None:
        if isinstance(self.limiter.check([self.policy], self.now, cost=cost), Allowed):
            assert self.most >= cost, "granted what is not there"
            self.most -= cost
            self.least = max(self.least - cost, Fraction(0))
        else:
            assert self.least < cost, "refused what is there"
            self.most = min(self.most, max(Fraction(cost), self.least))

    @rule()
    def crash(self) -> None:
        self.limiter = Limiter(self.store)  # type: ignore[arg-type] # as above
        self.least -= self.LEASE + 1


MACHINES: tuple[type[RuleBasedStateMachine], ...] = (CacheMachine, LimiterMachine)
