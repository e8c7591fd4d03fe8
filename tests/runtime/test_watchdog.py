"""The watchdog: when a loop that stands still is reported, and where an interrupt may land."""

from __future__ import annotations

import asyncio
import signal
import threading
from types import FrameType, SimpleNamespace

import msgspec
import pytest
from host_bench import Bench

from dohost.clock import SystemClock
from dohost.histogram import Histogram
from dohost.runtime.interrupts import SIGNAL, may_end_in
from dohost.runtime.watchdog import Pulse, Watchdog
from dohost.telemetry import Log

# When to report


def test_a_loop_that_stands_still_is_reported_once_and_again_when_it_moves() -> None:
    pulse = Pulse(1.0)
    pulse.ask(10.0, 0.0)
    assert [pulse.look(now, 0.0) for now in (10.25, 10.75, 11.0)] == [None, None, None]
    assert pulse.look(11.25, 0.0) == 1.25
    assert pulse.look(11.5, 0.0) is None
    assert pulse.answered(16.0, 0.0) == 6.0
    pulse.ask(17.0, 0.0)
    assert pulse.answered(17.5, 0.5) is None
    assert pulse.look(17.75, 0.5) is None


def test_a_process_that_was_stopped_is_not_reported() -> None:
    pulse = Pulse(1.0)
    pulse.look(9.75, 0.0)
    pulse.ask(10.0, 0.0)
    assert pulse.look(500.0, 0.1) is None
    assert pulse.look(500.5, 0.1) is None
    assert pulse.look(501.1, 0.1) == pytest.approx(1.1)
    pulse.answered(502.0, 0.1)
    pulse.ask(503.0, 0.1)
    assert pulse.answered(900.0, 0.2) is None


def test_code_that_let_nobody_look_is_reported_when_it_has_ended() -> None:
    pulse = Pulse(1.0)
    pulse.look(10.0, 0.0)
    pulse.ask(10.0, 0.0)
    assert pulse.look(18.0, 7.9) is None
    assert pulse.answered(18.0, 7.9) == 8.0
    # Also if nothing was asked when it began.
    assert pulse.look(18.25, 8.0) is None
    assert pulse.look(26.25, 15.9) is None
    pulse.ask(26.25, 15.9)
    assert pulse.answered(26.25, 15.9) == 8.0


def test_what_the_loop_owes_is_told_while_it_was_asked() -> None:
    pulse = Pulse(1.0)
    assert pulse.owed_s(10.0) is None
    pulse.ask(10.0, 0.0)
    assert pulse.owed_s(10.002) == pytest.approx(0.002)
    pulse.answered(10.002, 0.0)
    assert pulse.owed_s(10.25) is None


# Where an interrupt may land


def frame_of(*modules: str) -> FrameType:
    """Return what looks like the innermost frame of functions of these modules, outermost first."""
    frame = None
    for name in modules:
        frame = SimpleNamespace(f_globals={"__name__": name}, f_back=frame)
    return frame  # type: ignore[return-value] # its two attributes are all that is looked at


HOST = "dohost.runtime.turns"


@pytest.mark.parametrize(
    ("modules", "may_end"),
    [
        ((HOST, "dohost_worker_app_1.entry"), True),
        ((HOST, "dohost_worker_app_1.entry", "json.encoder"), True),
        ((HOST, "dohost.gateway.gateway", "msgspec"), True),
        ((HOST, "dohost_worker_app_1.entry", "dohost.storage.kv"), False),
        ((HOST, "dohost_worker_app_1.entry", "workers.response"), False),
        ((HOST, "dohost_worker_app_1.entry", "logging", "json.encoder"), False),
        ((HOST, "dohost_worker_app_1.entry", "asyncio.locks"), False),
        ((HOST, "dohost_worker_app_1.entry", "importlib._bootstrap"), False),
        ((HOST, "dohost_worker_app_1.entry", HOST, "greenlet"), False),
        (("asyncio.runners", "json.encoder"), False),
        (("json.encoder",), False),
        ((), False),
    ],
)
def test_an_interrupt_lands_in_a_workers_code_and_in_what_it_called_alone(
    modules: tuple[str, ...], may_end: bool
) -> None:
    assert may_end_in(frame_of(*modules)) is may_end


# On a loop that runs

WORKER = """
class Counter(DurableObject):
    async def block(self):
        return wait_for_the_report()
"""


async def test_a_report_names_object_handler_and_stack(bench: Bench) -> None:
    await bench.run(WORKER)
    # The host's own clock stands still here; the watchdog needs one that goes.
    reported = threading.Event()
    log = Log(lambda event: (bench.events.append(event), reported.set()))
    bench.host.generations["app"].module.wait_for_the_report = lambda: reported.wait(10)
    parts = msgspec.structs.replace(bench.host.parts, clock=SystemClock(), log=log)
    lag = Histogram()
    with Watchdog(parts, hang_s=0.05, lag=lag):
        assert await bench.stub().block() is True
        async with asyncio.timeout(5):
            while len(bench.events) < 2:
                await asyncio.sleep(0.01)
    begun, ended = bench.events
    assert (begun.name, ended.name) == ("loop.stands_still", "loop.moves_again")
    assert begun.fields["handler"] == ended.fields["handler"] == "Counter.block"
    assert "Counter/a" in str(begun.fields["object"])
    assert "return wait_for_the_report()" in str(begun.fields["stack"])
    assert signal.getsignal(SIGNAL) is signal.SIG_DFL
    assert lag.sum_s > 0.05
