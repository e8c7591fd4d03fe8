"""The limiter: bounds over every minute, crashes, clocks, tiers, several policies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dohost.gateway.config_tables import LimitAlgorithm, Tier
from dohost.gateway.rate_limit import Allowed, Limiter, LimitPolicy, Refused, TooCostly
from dohost.gateway.rate_limit_answers import states_of

MS = 1_000_000
SECOND = 1_000 * MS
MINUTE = 60 * SECOND
START = 1_790_000_000 * SECOND
FREE = Tier(rpm=100, burst=10)


class Disk:
    """Marks that outlive a limiter."""

    def __init__(self) -> None:
        self.marks: dict[str, bytes] = {}
        self.saves = 0

    def load(self, key: str) -> bytes | None:
        return self.marks.get(key)

    def save(self, key: str, mark: bytes) -> None:
        self.saves += 1
        self.marks[key] = mark

    def drop(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.marks.pop(key, None)

    def items(self) -> Iterable[tuple[str, bytes]]:
        return list(self.marks.items())


def policy(
    tier: Tier = FREE, *, key: str = "t1", name: str = "free", algorithm: LimitAlgorithm = "gcra"
) -> LimitPolicy:
    return LimitPolicy(name=name, key=key, tier=tier, algorithm=algorithm)


def admitted(limiter: Limiter, rule: LimitPolicy, instants: Iterable[int]) -> list[int]:
    return [now for now in instants if isinstance(limiter.check([rule], now), Allowed)]


def test_ten_pass_at_once_and_the_eleventh_waits_600_ms() -> None:
    limiter = Limiter(Disk())
    assert len(admitted(limiter, policy(), [START] * 10)) == 10
    refused = limiter.check([policy()], START)
    assert isinstance(refused, Refused)
    assert refused.retry_ns == 600 * MS
    assert isinstance(limiter.check([policy()], START + 600 * MS - 1), Refused)
    assert isinstance(limiter.check([policy()], START + 600 * MS), Allowed)


def test_continuous_demand_admits_109_in_the_first_minute_and_100_in_each_later_one() -> None:
    limiter = Limiter(Disk())
    every_10_ms = range(START, START + 3 * MINUTE, 10 * MS)
    passed = admitted(limiter, policy(), every_10_ms)
    by_minute = [sum((at - START) // MINUTE == minute for at in passed) for minute in range(3)]
    assert by_minute == [109, 100, 100]


def test_a_refusal_charges_nothing() -> None:
    limiter = Limiter(Disk())
    for _ in range(30):
        limiter.check([policy()], START)
    assert isinstance(limiter.check([policy()], START + 600 * MS), Allowed)


def test_all_policies_are_charged_or_none() -> None:
    limiter = Limiter(Disk())
    narrow = policy(Tier(rpm=60, burst=1), key="route", name="route")
    assert isinstance(limiter.check([policy(), narrow], START), Allowed)
    refused = limiter.check([policy(), narrow], START)
    assert isinstance(refused, Refused)
    assert [state.policy.name for state in refused.violated] == ["route"]
    assert refused.states[0].policy.name == "route"
    left = limiter.peek([policy()], START)
    assert isinstance(left, Allowed)
    assert left.states[0].remaining == 9


def test_a_peek_consumes_nothing() -> None:
    limiter = Limiter(Disk())
    for _ in range(50):
        limiter.peek([policy()], START)
    assert len(admitted(limiter, policy(), [START] * 11)) == 10


def test_a_cost_equal_to_the_burst_passes_and_one_more_is_too_costly() -> None:
    limiter = Limiter(Disk())
    too_much = limiter.check([policy()], START, cost=11)
    assert isinstance(too_much, TooCostly)
    assert isinstance(limiter.check([policy()], START, cost=10), Allowed)


def test_no_limit_never_refuses_and_a_limit_of_nothing_always_does() -> None:
    limiter = Limiter(Disk())
    assert len(admitted(limiter, policy(Tier(rpm=None)), [START] * 1_000)) == 1_000
    assert isinstance(limiter.check([policy(Tier(rpm=0))], START), Refused)


def test_an_upgrade_sheds_the_penalty_and_a_downgrade_does_not_grow_it() -> None:
    limiter = Limiter(Disk())
    admitted(limiter, policy(), [START] * 10)
    pro = policy(Tier(rpm=10_000, burst=200), name="pro")
    after = limiter.check([pro], START)
    assert isinstance(after, Allowed)
    assert after.states[0].remaining == 189
    admitted(limiter, pro, [START] * 200)
    back = limiter.check([policy()], START)
    assert isinstance(back, Refused)
    assert back.retry_ns <= 6 * SECOND


def test_a_clock_set_back_neither_locks_out_nor_refills() -> None:
    limiter = Limiter(Disk())
    admitted(limiter, policy(), [START] * 10)
    hour_ago = START - 3_600 * SECOND
    assert isinstance(limiter.check([policy()], hour_ago), Refused)
    assert isinstance(limiter.check([policy()], hour_ago + 600 * MS), Allowed)


def test_a_mark_from_the_future_costs_at_most_a_full_bucket_after_a_restart() -> None:
    disk = Disk()
    admitted(Limiter(disk), policy(), [START] * 10)
    restarted = Limiter(disk)
    year_ago = START - 365 * 86_400 * SECOND
    assert isinstance(restarted.check([policy()], year_ago), Refused)
    assert isinstance(restarted.check([policy()], year_ago + 600 * MS), Allowed)


def test_a_crash_costs_at_most_the_leased_tokens() -> None:
    disk = Disk()
    assert isinstance(Limiter(disk).check([policy()], START), Allowed)
    left = Limiter(disk).peek([policy()], START)
    assert isinstance(left, Allowed)
    assert left.states[0].remaining == 10 - 1 - 10 // 4


def test_leases_cut_the_writes() -> None:
    disk = Disk()
    limiter = Limiter(disk)
    pro = policy(Tier(rpm=10_000, burst=200))
    assert len(admitted(limiter, pro, [START] * 200)) == 200
    assert disk.saves <= 5


def test_full_buckets_are_swept_and_others_stay() -> None:
    disk = Disk()
    limiter = Limiter(disk)
    limiter.check([policy(key="a")], START)
    limiter.check([policy(key="b")], START + 10 * SECOND)
    assert limiter.sweep(START + 10 * SECOND) == 1
    assert set(disk.marks) == {"b"}
    assert Limiter(disk).sweep(START + 60 * SECOND) == 1


def test_memory_is_bounded_and_an_evicted_bucket_is_not_refilled() -> None:
    limiter = Limiter(Disk(), keys_max=2)
    admitted(limiter, policy(key="a"), [START] * 10)
    for key in ("b", "c", "d"):
        limiter.check([policy(key=key)], START)
    assert "2 buckets" in repr(limiter)
    assert isinstance(limiter.check([policy(key="a")], START), Refused)


@pytest.mark.parametrize("algorithm", ["window", "both"])
def test_a_window_holds_its_limit_in_every_minute(algorithm: LimitAlgorithm) -> None:
    tier = Tier(rpm=20, burst=5)
    bound = 25 if algorithm == "window" else 20
    limiter = Limiter(Disk())
    rule = policy(tier, algorithm=algorithm)
    passed = admitted(limiter, rule, range(START, START + 5 * MINUTE, 250 * MS))
    for first in passed:
        assert sum(first <= at < first + MINUTE for at in passed) <= bound
    assert len(passed) >= 4 * 20 * 0.9


def test_a_window_says_when_it_will_pass_again() -> None:
    limiter = Limiter(Disk())
    rule = policy(Tier(rpm=1, burst=1), algorithm="window")
    assert len(admitted(limiter, rule, [START] * 3)) == 2
    refused = limiter.check([rule], START)
    assert isinstance(refused, Refused)
    assert 60 * SECOND <= refused.retry_ns <= 61 * SECOND
    assert isinstance(limiter.check([rule], START + refused.retry_ns), Allowed)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 10 * MS, 599 * MS, 600 * MS, 3 * SECOND, 20 * SECOND]),
        st.booleans(),
        st.integers(1, 4),
    ),
    max_size=300,
)


@settings(max_examples=60, deadline=None)
@given(
    steps=STEPS,
    tier=st.sampled_from([FREE, Tier(rpm=7, burst=3), Tier(rpm=61, burst=1)]),
    algorithm=st.sampled_from(["gcra", "window", "both"]),
)
def test_no_minute_admits_more_than_its_bound_even_over_crashes(
    steps: list[tuple[int, bool, int]], tier: Tier, algorithm: LimitAlgorithm
) -> None:
    disk = Disk()
    limiter, now, passed = Limiter(disk), START, list[tuple[int, int]]()
    rule = policy(tier, algorithm=algorithm)
    for wait, crash, cost in steps:
        now += wait
        if crash:
            limiter = Limiter(disk)
        if isinstance(limiter.check([rule], now, cost=cost), Allowed):
            passed.append((now, cost))
    assert tier.rpm is not None
    bound = {"gcra": tier.burst + tier.rpm - 1, "window": tier.burst + tier.rpm, "both": tier.rpm}
    for first, _ in passed:
        within = sum(cost for at, cost in passed if first <= at < first + MINUTE)
        assert within <= bound[algorithm]


@given(
    steps=st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 12)), max_size=60),
    burst=st.integers(1, 10),
)
def test_one_bucket_alone_decides_as_it_does_among_others(
    steps: list[tuple[int, int]], burst: int
) -> None:
    alone, among = Limiter(Disk()), Limiter(Disk())
    rule, unlimited = policy(Tier(rpm=100, burst=burst)), policy(Tier(rpm=None), key="free")
    now = START
    for wait_ms, cost in steps:
        now += wait_ms * MS
        one = alone.check([rule], now, cost=cost)
        two = among.check([rule, unlimited], now, cost=cost)
        assert type(one) is type(two)
        assert states_of(one)[0] == states_of(two)[0]
    assert dict(alone._store.items()) == dict(among._store.items())


def test_a_lease_that_is_durable_covers_charges_without_a_write() -> None:
    disk, durable = Disk(), Durable()
    limiter = Limiter(disk, when_durable=durable.note)
    assert limiter.charge_leased([policy()], START, cost=1) is None, "nothing is leased"
    limiter.check([policy()], START)
    assert limiter.charge_leased([policy()], START, cost=1) is None, (
        "nothing is known to be durable"
    )
    durable.sync()
    saves = disk.saves
    states = [limiter.charge_leased([policy()], START, cost=1) for _ in range(3)]
    assert [state and state.remaining for state in states] == [8, 7, None]
    assert disk.saves == saves


def test_a_lease_is_renewed_before_it_ends_by_one_who_is_sent_to_do_it() -> None:
    durable = Durable()
    limiter = Limiter(Disk(), when_durable=durable.note)
    pro = policy(Tier(rpm=10_000, burst=200))
    limiter.check([pro], START)
    durable.sync()
    # A lease is fifty tokens; the one who finds less than a quarter left is sent, and others are not.
    charged = [limiter.charge_leased([pro], START, cost=1) is not None for _ in range(45)]
    assert charged == [True] * 38 + [False] + [True] * 6
    limiter.check([pro], START)
    (confirm,) = durable.waiting
    assert limiter.charge_leased([pro], START, cost=1) is not None
    confirm()
    # The next lease ends like this one: again one is sent.
    charged = [limiter.charge_leased([pro], START, cost=1) is not None for _ in range(45)]
    assert charged.count(False) == 1


def test_a_plan_that_changes_needs_a_lease_of_its_own() -> None:
    durable = Durable()
    limiter = Limiter(Disk(), when_durable=durable.note)
    slow, quick = policy(), policy(Tier(rpm=6_000, burst=10))
    limiter.check([slow], START)
    limiter.check([quick], START)
    first, second = durable.waiting
    first()
    assert limiter.charge_leased([quick], START, cost=1) is None
    second()
    assert limiter.charge_leased([quick], START, cost=1) is not None
    # Looking at it in the old plan's terms is enough to make the lease another.
    for plan in (slow, quick):
        limiter.peek([plan], START)
        assert [limiter.charge_leased([plan], START, cost=1) for _ in range(3)] == [None] * 3


def test_what_has_no_single_bucket_is_never_charged_from_a_lease() -> None:
    durable = Durable()
    limiter = Limiter(Disk(), when_durable=durable.note)
    for rule in (
        policy(algorithm="window"),
        policy(algorithm="both"),
        policy(Tier(rpm=0, burst=1)),
    ):
        limiter.check([rule], START)
        durable.sync()
        assert limiter.charge_leased([rule], START, cost=1) is None
    limiter.check([policy(), policy(key="t2")], START)
    durable.sync()
    assert limiter.charge_leased([policy(), policy(key="t2")], START, cost=1) is None
    free = limiter.charge_leased([policy(Tier(rpm=None, burst=1))], START, cost=1)
    assert free is not None
    assert free.limit is None


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("check", "check", "leased", "leased", "leased", "sync", "crash")),
            st.integers(0, 2 * SECOND),
            st.integers(1, 2),
        ),
        max_size=120,
    )
)
def test_no_crash_grants_more_than_the_plan_when_grants_leave_before_a_write(
    steps: list[tuple[str, int, int]],
) -> None:
    """A grant of `check` leaves with the writes before it, one of `charge_leased` at once."""
    stored, durable = Disk(), Durable()
    on_disk: dict[str, bytes] = {}
    limiter = Limiter(stored, when_durable=durable.note)
    now, left, waiting = START, [], []
    for act, pause, cost in steps:
        now += pause
        if act == "check":
            if isinstance(limiter.check([policy()], now, cost=cost), Allowed):
                waiting += [now] * cost
        elif act == "leased":
            if limiter.charge_leased([policy()], now, cost=cost) is not None:
                left += [now] * cost
        elif act == "sync":
            on_disk = stored.marks.copy()
            durable.sync()
            left, waiting = left + waiting, []
        else:
            stored.marks, waiting = on_disk.copy(), []
            durable.waiting.clear()
            limiter = Limiter(stored, when_durable=durable.note)
    for end in left:
        window = [each for each in left if end - MINUTE < each <= end]
        assert len(window) <= FREE.burst + 100


class Durable:
    """Remembers who waits until what was saved is durable."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def note(self, then: Callable[[], None]) -> None:
        self.waiting.append(then)

    def sync(self) -> None:
        waiting, self.waiting = self.waiting, []
        for then in waiting:
            then()
