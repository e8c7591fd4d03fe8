"""Rate limiting: every policy of a request is peeked at before any is charged.

The arithmetic is in `gcra.py` and `sliding_window.py`; here are buckets, decisions and durability.
Durability is a lease: the store holds a mark at or ahead of everything granted, so a crash can only
make the limiter stricter, by at most the leased tokens (a quarter of the burst), and it never grants
twice. Under algorithm "gcra" a tier is a token bucket; under "window" at most rpm + burst units pass
in any 60 s; under "both" the bucket decides and at most rpm units pass in any 60 s. A refusal charges
nothing. There is no await here: check and charge are one step.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import partial

import msgspec
from msgspec import Struct

from dohost.gateway import gcra, sliding_window
from dohost.gateway.config_tables import LimitAlgorithm, Tier
from dohost.gateway.rate_limit_buckets import Bucket, Mark, MarkStore, WhenDurable


class LimitPolicy(Struct, frozen=True, kw_only=True):
    """A limit on a key; `name` is shown to clients (a tier's name), `key` is the bucket.

    A tenant's key stays the same when its tier changes: the debt is converted.
    """

    name: str
    key: str
    tier: Tier
    algorithm: LimitAlgorithm = "gcra"


class LimitState(Struct, frozen=True, kw_only=True):
    """A bucket after a decision: what is left and when more comes (nanoseconds).

    `limit` is the units per minute, `None` without a limit; `capacity` the most there can be at once.
    """

    policy: LimitPolicy
    limit: int | None
    burst: int
    capacity: int
    remaining: int
    next_unit_ns: int
    full_reset_ns: int
    retry_ns: int


class Allowed(Struct, frozen=True, kw_only=True):
    """Charged (by `check`); one state per policy, tightest first."""

    states: tuple[LimitState, ...]


class Refused(Struct, frozen=True, kw_only=True):
    """Nothing was charged; `violated` policies refused. Waiting `retry_ns` may help."""

    states: tuple[LimitState, ...]
    violated: tuple[LimitState, ...]
    retry_ns: int


class TooCostly(Struct, frozen=True, kw_only=True):
    """The cost exceeds a policy's burst: waiting can't help (413)."""

    state: LimitState
    cost: int


LimitDecision = Allowed | Refused | TooCostly


DECODER = msgspec.json.Decoder(Mark)
NEVER_NS = gcra.MINUTE_NS


class Limiter:
    """Buckets of one gateway object; at most `keys_max` are in memory, the rest in the store."""

    def __init__(
        self,
        store: MarkStore,
        *,
        keys_max: int = 100_000,
        when_durable: WhenDurable | None = None,
    ) -> None:
        self._store = store
        self._keys_max = keys_max
        self._when_durable = when_durable
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._last = 0
        self._offset = 0

    def __repr__(self) -> str:
        return f"<Limiter {len(self._buckets)} buckets in memory>"

    def check(
        self, policies: Sequence[LimitPolicy], now_ns: int, *, cost: int = 1
    ) -> LimitDecision:
        """Charge every policy, or none."""
        now = self._steady(now_ns)
        if len(policies) == 1:
            taken = self._take(policies[0], now, cost=cost)
            if taken is not None:
                return Allowed(states=(taken,))
        decision = self._decide(policies, now, cost=cost)
        if not isinstance(decision, Allowed):
            return decision
        for policy in policies:
            if policy.tier.rpm is not None:
                self._charge(policy, now, cost=cost)
        return Allowed(states=tightest(self._state(policy, now, cost=1) for policy in policies))

    def charge_leased(
        self, policies: Sequence[LimitPolicy], now_ns: int, *, cost: int
    ) -> LimitState | None:
        """Charge a single token bucket as `check` would, if that needs no write; return its state.

        None, and nothing charged, if it needs one, or if `check` would not say `Allowed`.
        """
        if len(policies) != 1:
            return None
        policy = policies[0]
        rpm, burst = policy.tier.rpm, policy.tier.burst
        if rpm is None:
            return unlimited(policy)
        bucket = self._buckets.get(policy.key)
        if not rpm or bucket is None or policy.algorithm != "gcra":
            return None
        interval = gcra.interval_of(rpm)
        if interval != bucket.interval:
            return None
        now = self._steady(now_ns)
        tat = max(bucket.tat, now) + cost * interval
        if tat - now > burst * interval or not bucket.advance_leased(tat, lease=lease_of(burst)):
            return None
        return bucket_state(policy, tat - now, interval=interval, cost=1)

    def peek(self, policies: Sequence[LimitPolicy], now_ns: int, *, cost: int = 1) -> LimitDecision:
        """Answer as `check` would, with the states before any charge; charges nothing."""
        return self._decide(policies, self._steady(now_ns), cost=cost)

    def sweep(self, now_ns: int) -> int:
        """Forget full buckets, in memory and in the store; return how many marks were dropped."""
        now = self._steady(now_ns)
        full: list[str] = []
        for key, mark in self._store.items():
            bucket = self._buckets.get(key)
            if (bucket or Bucket(DECODER.decode(mark))).is_full(now):
                full.append(key)
        self._store.drop(full)
        for key in [key for key, bucket in self._buckets.items() if bucket.is_full(now)]:
            del self._buckets[key]
        return len(full)

    def _steady(self, now_ns: int) -> int:
        """Return a time that never goes back: a wall clock set back shifts debts along with it."""
        now = now_ns + self._offset
        if now < self._last:
            self._offset += self._last - now
            now = self._last
        self._last = now
        return now

    def _decide(self, policies: Sequence[LimitPolicy], now: int, *, cost: int) -> LimitDecision:
        states = tightest(self._state(policy, now, cost=cost) for policy in policies)
        violated = []
        for state in states:
            if state.limit is not None and state.limit > 0 and cost > state.capacity:
                return TooCostly(state=state, cost=cost)
            if state.retry_ns > 0:
                violated.append(state)
        if not violated:
            return Allowed(states=states)
        worst = max(state.retry_ns for state in violated)
        return Refused(states=states, violated=tuple(violated), retry_ns=worst)

    def _bucket(self, key: str) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is not None:
            self._buckets.move_to_end(key)
            return bucket
        stored = self._store.load(key)
        bucket = Bucket(Mark() if stored is None else DECODER.decode(stored))
        self._buckets[key] = bucket
        if len(self._buckets) > self._keys_max:
            # Safe at any time: the stored mark is never behind what was granted.
            self._buckets.popitem(last=False)
        return bucket

    def _state(self, policy: LimitPolicy, now: int, *, cost: int) -> LimitState:
        """Return what a policy has now, and how long `cost` would have to wait."""
        rpm, burst = policy.tier.rpm, policy.tier.burst
        if rpm is None:
            return unlimited(policy)
        if rpm == 0:
            return nothing(policy)
        if policy.algorithm == "gcra":
            return self._bucket_state(policy, rpm, now=now, cost=cost)
        window = self._window_state(policy, rpm, now=now, cost=cost)
        if policy.algorithm == "window":
            return window
        bucket = self._bucket_state(policy, rpm, now=now, cost=cost)
        return LimitState(
            policy=policy,
            limit=rpm,
            burst=burst,
            capacity=min(bucket.capacity, window.capacity),
            remaining=min(bucket.remaining, window.remaining),
            next_unit_ns=max(bucket.next_unit_ns, window.next_unit_ns),
            full_reset_ns=max(bucket.full_reset_ns, window.full_reset_ns),
            retry_ns=max(bucket.retry_ns, window.retry_ns),
        )

    def _bucket_state(self, policy: LimitPolicy, rpm: int, *, now: int, cost: int) -> LimitState:
        burst, interval = policy.tier.burst, gcra.interval_of(rpm)
        debt = self._bucket(policy.key).debt(now, interval=interval, burst=burst)
        return bucket_state(policy, debt, interval=interval, cost=cost)

    def _window_state(self, policy: LimitPolicy, rpm: int, *, now: int, cost: int) -> LimitState:
        burst = policy.tier.burst
        limit = rpm + burst if policy.algorithm == "window" else rpm
        counts = sliding_window.pruned(self._bucket(policy.key).slots, now)
        used = sum(counts.values())
        left = max(0, limit - used)
        return LimitState(
            policy=policy,
            limit=limit,
            burst=burst,
            capacity=limit,
            remaining=left,
            next_unit_ns=sliding_window.wait_for(counts, now, excess=used - (limit - left - 1)),
            full_reset_ns=sliding_window.wait_for(counts, now, excess=used),
            retry_ns=sliding_window.wait_for(counts, now, excess=used + cost - limit),
        )

    def _take(self, policy: LimitPolicy, now: int, *, cost: int) -> LimitState | None:
        """Charge a single token bucket that has enough and return its state, else None.

        What `_decide` and `_charge` would come to, with the debt computed once.
        """
        rpm, burst = policy.tier.rpm, policy.tier.burst
        if not rpm or policy.algorithm != "gcra":
            return None
        interval = gcra.interval_of(rpm)
        bucket = self._bucket(policy.key)
        debt = bucket.debt(now, interval=interval, burst=burst) + cost * interval
        if debt > burst * interval:
            return None
        if bucket.advance(now + debt, interval=interval, lease=lease_of(burst)):
            self._save(policy.key, bucket)
        return bucket_state(policy, debt, interval=interval, cost=1)

    def _charge(self, policy: LimitPolicy, now: int, *, cost: int) -> None:
        """Take `cost` from a policy's counters and move the stored mark ahead if it was reached."""
        rpm, burst = policy.tier.rpm, policy.tier.burst
        assert rpm is not None
        bucket = self._bucket(policy.key)
        lease, due = lease_of(burst), False
        if policy.algorithm != "window":
            interval = gcra.interval_of(rpm)
            debt = bucket.debt(now, interval=interval, burst=burst) + cost * interval
            due = bucket.advance(now + debt, interval=interval, lease=lease)
        if policy.algorithm != "gcra":
            slot = sliding_window.slot_of(now)
            bucket.slots = sliding_window.pruned(bucket.slots, now)
            bucket.slots[slot] = bucket.slots.get(slot, 0) + cost
            if bucket.slots[slot] > bucket.leased_slots.get(slot, 0):
                bucket.leased_slots = {**bucket.slots, slot: bucket.slots[slot] + lease}
                due = True
        if due:
            self._save(policy.key, bucket)

    def _save(self, key: str, bucket: Bucket) -> None:
        mark = Mark(
            tat_ns=bucket.leased_tat, interval_ns=bucket.interval, slots=bucket.leased_slots
        )
        self._store.save(key, msgspec.json.encode(mark))
        if self._when_durable is not None and mark.tat_ns:
            self._when_durable(partial(bucket.confirm, mark.tat_ns))


def lease_of(burst: int) -> int:
    """Return how many tokens the stored mark leads by: what a crash may cost."""
    return max(1, burst // 4)


def bucket_state(policy: LimitPolicy, debt: int, *, interval: int, cost: int) -> LimitState:
    """Return a token bucket's state at a debt, and how long `cost` more would have to wait."""
    tier = policy.tier
    burst = tier.burst
    remaining = gcra.remaining(debt, interval=interval, burst=burst)
    return LimitState(
        policy=policy,
        limit=tier.rpm,
        burst=burst,
        capacity=burst,
        remaining=remaining,
        next_unit_ns=gcra.next_unit(debt, remaining, interval=interval, burst=burst),
        full_reset_ns=debt,
        # What is left in whole tokens is enough for a whole cost.
        retry_ns=0
        if cost <= remaining
        else gcra.retry_after(debt, cost, interval=interval, burst=burst),
    )


def tightest(states: Iterable[LimitState]) -> tuple[LimitState, ...]:
    """Return the states with the least left first; those without a limit last."""
    found = tuple(states)
    if len(found) == 1:
        return found
    return tuple(sorted(found, key=lambda s: (s.limit is None, -s.retry_ns, s.remaining)))


def unlimited(policy: LimitPolicy) -> LimitState:
    """Return the state of a policy without a limit."""
    burst = policy.tier.burst
    return LimitState(
        policy=policy,
        limit=None,
        burst=burst,
        capacity=burst,
        remaining=burst,
        next_unit_ns=0,
        full_reset_ns=0,
        retry_ns=0,
    )


def nothing(policy: LimitPolicy) -> LimitState:
    """Return the state of a policy that allows nothing; a minute is a hint to ask rarely."""
    return LimitState(
        policy=policy,
        limit=0,
        burst=policy.tier.burst,
        capacity=0,
        remaining=0,
        next_unit_ns=NEVER_NS,
        full_reset_ns=NEVER_NS,
        retry_ns=NEVER_NS,
    )
