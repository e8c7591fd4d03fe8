"""One broken thing does not flood the log."""

from __future__ import annotations

from dohost.clock import ManualClock
from dohost.telemetry import EVENTS_PER_WINDOW_MAX, WINDOW_S, Event, Log


def test_few_warnings_of_a_kind_pass_and_the_next_window_tells_how_many_did_not() -> None:
    events: list[Event] = []
    clock = ManualClock()
    log = Log(events.append).limited(clock.monotonic)
    for _ in range(EVENTS_PER_WINDOW_MAX + 7):
        log.event("disk.failed", level="warn", cause="full")
    assert len(events) == EVENTS_PER_WINDOW_MAX
    log.event("disk.failed", level="warn", cause="broken")
    log.event("alarm.failed", level="error")
    assert len(events) == EVENTS_PER_WINDOW_MAX + 2
    clock.advance(WINDOW_S)
    log.event("disk.failed", level="warn", cause="full")
    assert events[-1].fields == {"cause": "full", "left_out_before": 7}


def test_what_is_no_failure_is_not_limited() -> None:
    events: list[Event] = []
    log = Log(events.append).limited(ManualClock().monotonic)
    for _ in range(100):
        log.event("request", level="info")
    assert len(events) == 100


def test_the_kinds_that_are_counted_are_bounded() -> None:
    log = Log(lambda event: None).limited(ManualClock().monotonic)
    for number in range(1000):
        log.event("x", level="error", cause=str(number))
    assert len(log._sink._windows) == 256  # type: ignore[attr-defined]  # of the limited sink
