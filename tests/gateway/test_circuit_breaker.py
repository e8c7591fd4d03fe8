"""The state machine of 5.2, and a model of it in ten lines."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dohost.gateway.circuit_breaker import (
    CLOSED,
    BreakerState,
    Outcome,
    Permit,
    Rejected,
    acquire,
    circuit_open_members,
    decode_state,
    encode_state,
    force,
    is_transition,
    report,
    reset,
    status,
)
from dohost.gateway.config_tables import BreakerConfig

DEFAULT = BreakerConfig()
NOW = 1_790_000_000_000


class Breaker:
    """Holds a value, as a gateway object does."""

    def __init__(self, config: BreakerConfig = DEFAULT, state: BreakerState = CLOSED) -> None:
        self.config, self.state, self.now = config, state, NOW

    def ask(self) -> Permit | Rejected:
        self.state, verdict = acquire(self.state, self.config, now_ms=self.now, lease_ms=5_000)
        return verdict

    def permit(self) -> Permit:
        verdict = self.ask()
        assert isinstance(verdict, Permit)
        return verdict

    def done(self, permit: Permit, outcome: Outcome) -> None:
        self.state = report(
            self.state, self.config, permit=permit, outcome=outcome, now_ms=self.now
        )

    def call(self, outcome: Outcome) -> None:
        self.done(self.permit(), outcome)

    def trip(self) -> None:
        for _ in range(self.config.threshold):
            self.call("failure")
        assert self.state.state == "open"


def test_the_fifth_failure_in_a_row_opens() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.call("failure")
    assert breaker.state.state == "closed"
    breaker.call("failure")
    assert breaker.state.state == "open"
    assert breaker.ask() == Rejected(state="open", retry_ms=30_000)


def test_a_success_clears_the_count() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.call("failure")
    breaker.call("ok")
    for _ in range(4):
        breaker.call("failure")
    assert breaker.state.state == "closed"


def test_what_is_ignored_neither_counts_nor_clears() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.call("failure")
        breaker.call("ignored")
    breaker.call("failure")
    assert breaker.state.state == "open"


def test_failures_older_than_the_window_are_forgotten() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.call("failure")
        breaker.now += 15_000
    assert breaker.state.state == "closed"


def test_an_open_breaker_rejects_until_its_timeout_and_then_probes() -> None:
    breaker = Breaker()
    breaker.trip()
    breaker.now += 29_999
    assert breaker.ask() == Rejected(state="open", retry_ms=1)
    breaker.now += 1
    assert breaker.permit().probe is not None
    assert breaker.state.state == "half-open"


def test_one_hundred_callers_at_once_get_exactly_three_probes() -> None:
    breaker = Breaker()
    breaker.trip()
    breaker.now += 30_000
    verdicts = [breaker.ask() for _ in range(100)]
    assert sum(isinstance(verdict, Permit) for verdict in verdicts) == 3
    assert verdicts[-1] == Rejected(state="half-open", retry_ms=1_000)


def test_a_success_gives_no_place_back_three_in_all_close_it() -> None:
    breaker = Breaker()
    breaker.trip()
    breaker.now += 30_000
    permits = [breaker.permit() for _ in range(3)]
    breaker.done(permits[0], "ok")
    breaker.done(permits[1], "ok")
    assert isinstance(breaker.ask(), Rejected)
    breaker.done(permits[2], "ok")
    assert breaker.state.state == "closed"
    assert breaker.state.failures == ()


def test_one_failed_probe_opens_again_and_late_successes_do_not_close_it() -> None:
    breaker = Breaker()
    breaker.trip()
    breaker.now += 30_000
    permits = [breaker.permit() for _ in range(3)]
    breaker.done(permits[0], "failure")
    breaker.done(permits[1], "ok")
    breaker.done(permits[2], "ok")
    assert breaker.state.state == "open"
    assert breaker.ask() == Rejected(state="open", retry_ms=30_000)


def test_a_call_from_before_the_opening_says_nothing_about_the_probes() -> None:
    breaker = Breaker()
    early = breaker.permit()
    breaker.trip()
    breaker.now += 30_000
    breaker.permit()
    breaker.done(early, "failure")
    assert breaker.state.state == "half-open"


def test_an_ignored_probe_gives_its_place_back() -> None:
    breaker = Breaker()
    breaker.trip()
    breaker.now += 30_000
    permits = [breaker.permit() for _ in range(3)]
    breaker.done(permits[0], "ignored")
    assert isinstance(breaker.ask(), Permit)
    assert isinstance(breaker.ask(), Rejected)


def test_a_probe_that_never_reports_does_not_wedge_half_open() -> None:
    breaker = Breaker()
    breaker.trip()
    breaker.now += 30_000
    lost = [breaker.permit() for _ in range(3)]
    breaker.now += 5_999
    assert isinstance(breaker.ask(), Rejected)
    breaker.now += 1
    breaker.permit()
    breaker.done(lost[0], "failure")
    assert breaker.state.state == "half-open"


def test_a_report_twice_counts_once() -> None:
    breaker = Breaker()
    breaker.trip()
    breaker.now += 30_000
    permit = breaker.permit()
    for _ in range(3):
        breaker.done(permit, "ok")
    assert breaker.state.state == "half-open"


def test_slow_calls_are_failures_where_they_are_limited() -> None:
    breaker = Breaker(BreakerConfig(threshold=1, slow_call_ms=100))
    permit = breaker.permit()
    breaker.now += 99
    breaker.done(permit, "ok")
    assert breaker.state.state == "closed"
    permit = breaker.permit()
    breaker.now += 100
    breaker.done(permit, "ok")
    assert breaker.state.state == "open"


@pytest.mark.parametrize("window", ["count", "time"])
def test_rate_mode_needs_enough_calls_and_the_rate(window: str) -> None:
    config = msgspec.convert(
        {"mode": "rate", "rate_window": window, "size": 10, "min_calls": 10}, BreakerConfig
    )
    breaker = Breaker(config)
    for _ in range(9):
        breaker.call("failure")
    assert breaker.state.state == "closed"
    breaker.call("ok")
    assert breaker.state.state == "open"


def test_rate_mode_forgets_what_left_the_window() -> None:
    breaker = Breaker(BreakerConfig(mode="rate", rate_window="time", size=10, min_calls=4))
    for _ in range(3):
        breaker.call("failure")
    breaker.now += 10_000
    for _ in range(3):
        breaker.call("ok")
    breaker.call("failure")
    assert breaker.state.state == "closed"


def test_a_count_window_smaller_than_min_calls_can_still_open() -> None:
    breaker = Breaker(BreakerConfig(mode="rate", size=5))
    for _ in range(5):
        breaker.call("failure")
    assert breaker.state.state == "open"


def test_a_share_of_slow_calls_opens_in_rate_mode() -> None:
    breaker = Breaker(BreakerConfig(mode="rate", size=4, slow_call_ms=50, slow_rate=0.5))
    for slow in (True, False, True, False):
        permit = breaker.permit()
        breaker.now += 60 if slow else 1
        breaker.done(permit, "ok")
    assert breaker.state.state == "open"


def test_back_off_doubles_to_its_maximum_and_resets_after_calm() -> None:
    breaker = Breaker(BreakerConfig(threshold=1, half_open_max=1, backoff="double"))
    waits = []
    breaker.call("failure")
    for _ in range(6):
        verdict = breaker.ask()
        assert isinstance(verdict, Rejected)
        waits.append(verdict.retry_ms)
        breaker.now += verdict.retry_ms
        breaker.call("failure")
    assert waits == [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]
    breaker.now += 300_000
    breaker.call("ok")
    breaker.now += 30_000
    breaker.call("failure")
    assert breaker.ask() == Rejected(state="open", retry_ms=30_000)


def test_status_shows_when_it_may_be_retried_and_changes_nothing() -> None:
    breaker = Breaker()
    breaker.trip()
    held = breaker.state
    assert status(held, DEFAULT, NOW + 60_000) == {
        "state": "open",
        "failures": 5,
        "lastFailure": NOW,
        "halfOpenAttempts": 0,
        "openedAt": NOW,
        "retryAt": NOW + 30_000,
    }
    assert breaker.state is held
    assert status(CLOSED, DEFAULT, NOW)["retryAt"] is None


def test_an_operator_can_hold_it_open_or_closed_and_let_go() -> None:
    breaker = Breaker()
    breaker.state = force(breaker.state, "open")
    assert breaker.ask() == Rejected(state="open", retry_ms=30_000, forced=True)
    assert status(breaker.state, DEFAULT, NOW)["forced"] == "open"
    breaker.state = force(breaker.state, "closed")
    for _ in range(20):
        breaker.call("failure")
    assert breaker.permit().tracked is False
    breaker.state = force(breaker.state, "auto")
    breaker.trip()


def test_reset_closes_and_ignores_calls_in_flight() -> None:
    breaker = Breaker(BreakerConfig(threshold=1))
    flying = breaker.permit()
    breaker.trip()
    breaker.state = reset(breaker.state)
    breaker.done(flying, "failure")
    assert breaker.state.state == "closed"
    assert breaker.permit().gen > flying.gen


def test_open_survives_a_restart_until_its_deadline() -> None:
    breaker = Breaker()
    breaker.trip()
    again = Breaker(state=decode_state(encode_state(breaker.state), NOW + 10_000))
    again.now = NOW + 10_000
    assert again.ask() == Rejected(state="open", retry_ms=20_000)
    again.now = NOW + 30_000
    assert isinstance(again.ask(), Permit)


def test_failures_counted_before_a_restart_still_count() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.call("failure")
    again = Breaker(state=decode_state(encode_state(breaker.state), NOW))
    again.call("failure")
    assert again.state.state == "open"


def test_half_open_comes_back_open_and_may_probe_at_once() -> None:
    breaker = Breaker()
    breaker.trip()
    breaker.now += 30_000
    lost = breaker.permit()
    again = Breaker(state=decode_state(encode_state(breaker.state), NOW))
    assert again.state.state == "open"
    verdicts = [again.ask() for _ in range(10)]
    assert sum(isinstance(verdict, Permit) for verdict in verdicts) == 3
    again.done(lost, "failure")
    assert again.state.state == "half-open"


def test_a_clock_set_back_keeps_it_open_for_one_timeout_at_most() -> None:
    breaker = Breaker()
    breaker.trip()
    restarted = decode_state(encode_state(breaker.state), NOW - 3_600_000)
    assert restarted.opened_ms == NOW - 3_600_000
    breaker.now -= 3_600_000
    assert breaker.ask() == Rejected(state="open", retry_ms=30_000)
    breaker.now += 30_000
    assert isinstance(breaker.ask(), Permit)


def test_what_must_be_durable_is_a_transition_and_probes_are_not() -> None:
    breaker = Breaker()
    held = breaker.state
    breaker.call("ok")
    assert breaker.state is held
    breaker.call("failure")
    assert is_transition(held, breaker.state)
    for _ in range(4):
        breaker.call("failure")
    breaker.now += 30_000
    breaker.permit()
    held = breaker.state
    breaker.permit()
    assert not is_transition(held, breaker.state)


def test_the_problem_says_which_service_and_when_to_retry() -> None:
    rejected = Rejected(state="open", retry_ms=1_500)
    assert circuit_open_members("users", rejected, NOW) == {
        "service": "users",
        "state": "open",
        "retryAt": NOW + 1_500,
    }


class BreakerMachine(RuleBasedStateMachine):
    """Any sequence of calls against a model that only knows the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(BreakerConfig(threshold=3, half_open_max=2, window_ms=10**9))
        self.permits: list[tuple[Permit, int]] = []
        self.episode, self.state, self.fails, self.issued, self.oks = 0, "closed", 0, 0, 0
        self.opened = 0

    def turn(self, state: str) -> None:
        self.state, self.fails, self.issued, self.oks = state, 0, 0, 0
        self.episode += 1
        self.opened = self.breaker.now

    @rule(ms=st.sampled_from([0, 1_000, 15_000, 30_000]))
    def wait(self, ms: int) -> None:
        self.breaker.now += ms

    @rule()
    def ask(self) -> None:
        if self.state == "open" and self.breaker.now - self.opened >= 30_000:
            self.turn("half-open")
            self.lease_ends = []
        expected = self.state == "closed" or (self.state == "half-open" and self.room() > 0)
        verdict = self.breaker.ask()
        assert isinstance(verdict, Permit) == expected
        if isinstance(verdict, Permit):
            self.permits.append((verdict, self.episode))
            if self.state == "half-open":
                self.lease_ends.append((verdict.probe, self.breaker.now + 6_000))

    def room(self) -> int:
        self.lease_ends = [each for each in self.lease_ends if each[1] > self.breaker.now]
        return 2 - self.oks - len(self.lease_ends)

    @rule(data=st.data(), outcome=st.sampled_from(["ok", "failure", "ignored"]))
    def answer(self, data: st.DataObject, outcome: Outcome) -> None:
        if not self.permits:
            return
        permit, episode = self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1)))
        self.breaker.done(permit, outcome)
        if episode != self.episode or (outcome == "ignored" and self.state == "closed"):
            return
        if self.state == "closed":
            self.fails = self.fails + 1 if outcome == "failure" else 0
            if self.fails == 3:
                self.turn("open")
        elif self.state == "half-open" and permit.probe in [each[0] for each in self.lease_ends]:
            self.lease_ends = [each for each in self.lease_ends if each[0] != permit.probe]
            self.oks += outcome == "ok"
            if outcome == "failure":
                self.turn("open")
            elif self.oks == 2:
                self.turn("closed")

    @rule()
    def restart_does_not_close_it(self) -> None:
        again = decode_state(encode_state(self.breaker.state), self.breaker.now)
        assert (again.state == "closed") == (self.state == "closed")

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.breaker.state.state == self.state


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
