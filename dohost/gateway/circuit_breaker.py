"""Circuit breaker: a state machine on a value; whoever holds the value stores it.

closed: failures are counted; `threshold` of them in a row open it (or, in rate mode, a share of the
recent calls). open: everything is rejected until the timeout has passed. half-open: `half_open_max`
probes in all; as many successes close it, one failure opens it again. Each change of state bumps
`gen`; a report whose permit is of an older generation is ignored, so a late success can't close what a
failure re-opened. A probe holds a lease: one that never reports gives its place back. Times are
wall-clock milliseconds, because an open breaker stays open over a restart.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from dohost.gateway.config_tables import BreakerConfig

Outcome = Literal["ok", "failure", "ignored"]
HALF_OPEN_RETRY_MS = 1_000


class Tally(Struct, frozen=True):
    """Calls of rate mode: one call (count window) or one second (time window, `at_s`)."""

    at_s: int
    calls: int
    failures: int
    slow: int


class BreakerState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a breaker remembers; `CLOSED` is the beginning.

    `leases` are the probes under way, each with the instant at which it gives its place back.
    `is_eligible` marks an open breaker that was half-open before a restart: it may probe at once.
    """

    state: Literal["closed", "open", "half-open"] = "closed"
    gen: int = 0
    failures: tuple[int, ...] = ()
    last_failure_ms: int | None = None
    opened_ms: int = 0
    closed_ms: int | None = None
    is_eligible: bool = False
    half_open_ok: int = 0
    leases: tuple[tuple[int, int], ...] = ()
    probes: int = 0
    open_count: int = 0
    tallies: tuple[Tally, ...] = ()
    forced: Literal["open", "closed"] | None = None


CLOSED = BreakerState()


class Permit(Struct, frozen=True, kw_only=True):
    """Leave to make one call; give it back with `report`."""

    gen: int
    started_ms: int
    probe: int | None = None
    tracked: bool = True


class Rejected(Struct, frozen=True, kw_only=True):
    """The call must not be made; `retry_ms` from now it may."""

    state: Literal["open", "half-open"]
    retry_ms: int
    forced: bool = False


def acquire(
    state: BreakerState, config: BreakerConfig, *, now_ms: int, lease_ms: int
) -> tuple[BreakerState, Permit | Rejected]:
    """Ask to make a call that takes at most `lease_ms`."""
    if state.forced == "closed":
        return state, Permit(gen=state.gen, started_ms=now_ms, tracked=False)
    if state.forced == "open":
        return state, Rejected(state="open", retry_ms=config.timeout_ms, forced=True)
    if state.state == "closed":
        return state, Permit(gen=state.gen, started_ms=now_ms)
    if state.state == "open":
        if now_ms < state.opened_ms:
            # The clock went back: an open breaker waits its timeout again, not the clock's step too.
            state = msgspec.structs.replace(state, opened_ms=now_ms)
        rest = state.opened_ms + open_ms(state, config) - now_ms
        if rest > 0 and not state.is_eligible:
            return state, Rejected(state="open", retry_ms=rest)
        state = changed(state, "half-open", half_open_ok=0, leases=(), is_eligible=False)
    return probe(state, config, now_ms=now_ms, lease_ms=lease_ms)


def probe(
    state: BreakerState, config: BreakerConfig, *, now_ms: int, lease_ms: int
) -> tuple[BreakerState, Permit | Rejected]:
    """Take one of the places of a half-open breaker; expired leases have given theirs back."""
    live = tuple(lease for lease in state.leases if lease[1] > now_ms)
    if state.half_open_ok + len(live) >= config.half_open_max:
        return state, Rejected(state="half-open", retry_ms=HALF_OPEN_RETRY_MS)
    number = state.probes + 1
    lease = (number, now_ms + lease_ms + config.lease_grace_ms)
    after = msgspec.structs.replace(state, leases=(*live, lease), probes=number)
    return after, Permit(gen=state.gen, started_ms=now_ms, probe=number)


def report(
    state: BreakerState,
    config: BreakerConfig,
    *,
    permit: Permit,
    outcome: Outcome,
    now_ms: int,
) -> BreakerState:
    """Return the state after a call ended; the same object if nothing changed."""
    if not permit.tracked or permit.gen != state.gen or state.state == "open":
        return state
    slow = config.slow_call_ms is not None and now_ms - permit.started_ms >= config.slow_call_ms
    if state.state == "half-open":
        return report_probe(
            state,
            config,
            permit=permit,
            outcome="failure" if slow and outcome == "ok" else outcome,
            now_ms=now_ms,
        )
    if outcome == "ignored":
        return state
    if config.mode == "rate":
        return report_rate(state, config, now_ms=now_ms, failed=outcome == "failure", slow=slow)
    return report_consecutive(state, config, now_ms=now_ms, failed=outcome == "failure" or slow)


def report_probe(
    state: BreakerState, config: BreakerConfig, *, permit: Permit, outcome: Outcome, now_ms: int
) -> BreakerState:
    """Count a probe. One whose lease is gone has been replaced and no longer counts."""
    leases = tuple(lease for lease in state.leases if lease[0] != permit.probe)
    if len(leases) == len(state.leases):
        return state
    if outcome == "failure":
        return opened(state, config, now_ms=now_ms)
    good = state.half_open_ok + (outcome == "ok")
    if good >= config.half_open_max:
        return changed(
            state, "closed", failures=(), tallies=(), leases=(), half_open_ok=0, closed_ms=now_ms
        )
    return msgspec.structs.replace(state, leases=leases, half_open_ok=good)


def report_consecutive(
    state: BreakerState, config: BreakerConfig, *, now_ms: int, failed: bool
) -> BreakerState:
    """Count failures in a row; those older than the window are forgotten."""
    if not failed:
        return msgspec.structs.replace(state, failures=()) if state.failures else state
    recent = tuple(at for at in state.failures if now_ms - config.window_ms < at <= now_ms)
    failures = (*recent, now_ms)
    after = msgspec.structs.replace(state, failures=failures, last_failure_ms=now_ms)
    return opened(after, config, now_ms=now_ms) if len(failures) >= config.threshold else after


def report_rate(
    state: BreakerState, config: BreakerConfig, *, now_ms: int, failed: bool, slow: bool
) -> BreakerState:
    """Count a call in the window of the last `size` calls or seconds."""
    second = now_ms // 1_000
    tallies = state.tallies
    if config.rate_window == "count":
        tallies = (*tallies, Tally(second, 1, failed, slow))[-config.size :]
    else:
        tallies = tuple(tally for tally in tallies if second - config.size < tally.at_s <= second)
        last = Tally(second, 0, 0, 0)
        if tallies and tallies[-1].at_s == second:
            *head, last = tallies
            tallies = tuple(head)
        tallies = (
            *tallies,
            Tally(second, last.calls + 1, last.failures + failed, last.slow + slow),
        )
    last_failure_ms = now_ms if failed else state.last_failure_ms
    after = msgspec.structs.replace(state, tallies=tallies, last_failure_ms=last_failure_ms)
    calls = sum(tally.calls for tally in tallies)
    if calls < enough_calls(config):
        return after
    failures = sum(tally.failures for tally in tallies)
    slow_calls = sum(tally.slow for tally in tallies)
    is_slow = config.slow_call_ms is not None and slow_calls >= config.slow_rate * calls
    return (
        opened(after, config, now_ms=now_ms)
        if failures >= config.failure_rate * calls or is_slow
        else after
    )


def enough_calls(config: BreakerConfig) -> int:
    """Return how many calls a rate needs; a count window can't hold more than its size."""
    if config.rate_window == "count":
        return min(config.min_calls, config.size)
    return config.min_calls


def opened(state: BreakerState, config: BreakerConfig, *, now_ms: int) -> BreakerState:
    """Return the breaker opened now; having stayed closed for the timeout resets the back-off."""
    calm = state.state == "closed" and (
        state.closed_ms is None or now_ms - state.closed_ms >= config.timeout_ms
    )
    return changed(
        state,
        "open",
        opened_ms=now_ms,
        last_failure_ms=now_ms,
        open_count=1 if calm else state.open_count + 1,
        leases=(),
        half_open_ok=0,
        tallies=(),
        is_eligible=False,
    )


def changed(
    state: BreakerState, to: Literal["closed", "open", "half-open"], **fields: object
) -> BreakerState:
    """Return the next generation in another state."""
    return msgspec.structs.replace(state, state=to, gen=state.gen + 1, **fields)


def open_ms(state: BreakerState, config: BreakerConfig) -> int:
    """Return how long this opening lasts."""
    if config.backoff == "none":
        return config.timeout_ms
    doublings = min(max(0, state.open_count - 1), 62)
    return min(config.timeout_ms << doublings, max(config.timeout_ms, config.timeout_ms_max))


def force(state: BreakerState, mode: Literal["open", "closed", "auto"]) -> BreakerState:
    """Return the state an operator asked for; "closed" disables the breaker, "auto" ends forcing."""
    forced = None if mode == "auto" else mode
    return msgspec.structs.replace(state, forced=forced, gen=state.gen + 1, leases=())


def reset(state: BreakerState) -> BreakerState:
    """Return a closed breaker that ignores every call still in flight."""
    return BreakerState(gen=state.gen + 1)


def is_transition(before: BreakerState, after: BreakerState) -> bool:
    """True if the change must be durable before the answer that it caused.

    Probes under way and the tallies of rate mode are not: a restart may forget them.
    """
    return before.gen != after.gen or before.failures != after.failures


def status(state: BreakerState, config: BreakerConfig, now_ms: int) -> dict[str, object]:
    """Return `{state, failures, lastFailure, halfOpenAttempts, openedAt, retryAt}`; changes nothing.

    Instants are epoch milliseconds. An open breaker whose time is up stays "open" until a call comes.
    """
    is_open = state.state == "open"
    if config.mode == "rate":
        failures = sum(tally.failures for tally in state.tallies)
    elif state.state == "closed":
        failures = sum(at > now_ms - config.window_ms for at in state.failures)
    else:
        failures = len(state.failures)
    shown: dict[str, object] = {
        "state": state.forced or state.state,
        "failures": failures,
        "lastFailure": state.last_failure_ms,
        "halfOpenAttempts": state.half_open_ok + len(state.leases),
        "openedAt": None if state.state == "closed" else state.opened_ms,
        "retryAt": state.opened_ms + open_ms(state, config) if is_open else None,
    }
    return shown if state.forced is None else shown | {"forced": state.forced, "retryAt": None}


def encode_state(state: BreakerState) -> str:
    """Return the JSON kept in storage."""
    return msgspec.json.encode(state).decode()


def decode_state(text: str, now_ms: int) -> BreakerState:
    """Return a stored state as a restart sees it.

    Half-open comes back as open and eligible, since its probes are lost; no date is in the future.
    """
    state = msgspec.json.decode(text, type=BreakerState)
    state = msgspec.structs.replace(
        state,
        opened_ms=min(state.opened_ms, now_ms),
        closed_ms=None if state.closed_ms is None else min(state.closed_ms, now_ms),
        failures=tuple(min(at, now_ms) for at in state.failures),
        leases=(),
    )
    if state.state == "half-open":
        return changed(state, "open", is_eligible=True, half_open_ok=0)
    return state


def circuit_open_members(service: str, rejected: Rejected, now_ms: int) -> dict[str, object]:
    """Return the members `service, state, retryAt` of the problem `circuit-open`."""
    retry_at = None if rejected.forced else now_ms + rejected.retry_ms
    return {"service": service, "state": rejected.state, "retryAt": retry_at}
