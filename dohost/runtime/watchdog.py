"""A thread that notices when the event loop does not move, says whose code runs, and ends what may be ended.

Every object shares one thread, so code that computes or blocks keeps all others waiting. The watchdog asks
the loop for a sign of life a few times a second, which costs a request nothing. When none comes it
reports the running object, its handler and its stack, once; and once more, with the length, when the
loop goes on. An object that is over its limit of processor time is interrupted meanwhile (`interrupts`).

What it can't see: while code in C keeps the interpreter to itself (`re`, `json`, a big sum), this thread
stands still too. It then reports afterwards how long that took, and not whose it was. A process that was stopped or suspended
looks the same but used no processor time, and a debugger's prompt is where somebody wants to be: neither
is reported. `Pulse` decides, on the times that it is given; the rest only asks and tells.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from types import FrameType

from dohost.clock import Clock
from dohost.histogram import Histogram
from dohost.runtime.custom_task import NEUTRAL
from dohost.runtime.interrupts import Interrupts, is_worker_module
from dohost.runtime.parts import Parts
from dohost.runtime.turns import Turn
from dohost.telemetry import Log

HANG_S_DEFAULT = 1.0
TICK_S = 0.25
# A watchdog that itself slept so long was not let run.
SUSPENDED_S = 1.0
# While an object is over its limit: until the signal finds it in code of its own.
HURRIED_TICK_S = 0.01
# While it lasted nobody could look.
UNSEEN: Mapping[str, object] = {
    "object": None,
    "handler": "unknown: it kept the interpreter to itself",
}
DEBUGGERS = frozenset(["bdb", "pdb", "debugpy", "_pydevd_bundle", "pydevd", "IPython"])


class Pulse:
    """Since when the loop owes a sign of life, and what there is to say about that."""

    def __init__(self, hang_s: float) -> None:
        self._hang_s = hang_s
        # When, and at which processor time of its thread, the loop was asked.
        self._asked: tuple[float, float] | None = None
        self._looked: tuple[float, float] | None = None
        self._is_told = False

    def look(self, now_s: float, cpu_s: float) -> float | None:
        """Return for how long the loop has stood still, if that is to be reported now."""
        last, self._looked = self._looked, (now_s, cpu_s)
        if last is not None and now_s - last[0] > SUSPENDED_S:
            # Whoever it was that let nobody look may be gone by now; the next answer will tell.
            asked = self._asked or last
            is_busy = _is_busy(now_s - asked[0], cpu_s - asked[1])
            self._asked = asked if is_busy else (now_s, cpu_s)
            return None
        if self._asked is None or self._is_told:
            return None
        asked_s, _ = self._asked
        if now_s - asked_s <= self._hang_s:
            return None
        self._is_told = True
        return now_s - asked_s

    def ask(self, now_s: float, cpu_s: float) -> None:
        """Note that the loop is asked, unless it owes an answer for longer already."""
        self._asked = self._asked or (now_s, cpu_s)

    def owed_s(self, now_s: float) -> float | None:
        """Return for how long the loop has owed an answer; None if it was not asked."""
        return None if self._asked is None else now_s - self._asked[0]

    def answered(self, now_s: float, cpu_s: float) -> float | None:
        """Note a sign of life; return how long the loop stood still, if that is to be reported."""
        asked, self._asked = self._asked, None
        was_told, self._is_told = self._is_told, False
        if asked is None:
            return None
        length_s = now_s - asked[0]
        is_long = length_s > max(self._hang_s, SUSPENDED_S)
        return length_s if was_told or (is_long and _is_busy(length_s, cpu_s - asked[1])) else None


def _is_busy(length_s: float, cpu_s: float) -> bool:
    """Whether the loop's thread computed, rather than that the process was stopped or the machine slept."""
    # A machine with much else to do may give it a fraction only.
    return cpu_s >= length_s / 10


class Watchdog:
    """Context manager; made and left on the loop's thread. `lag` gets how late each answer came."""

    def __init__(
        self, parts: Parts, *, hang_s: float = HANG_S_DEFAULT, lag: Histogram | None = None
    ) -> None:
        self._loop = parts.loop
        self._log: Log = parts.log
        self._clock: Clock = parts.clock
        self._meter = parts.meter
        self._interrupts = Interrupts(parts.meter)
        self._pulse = Pulse(hang_s)
        self._lag = lag or Histogram()
        self._is_answered = True
        # What was reported; None for what somebody has stopped on purpose.
        self._told: Mapping[str, object] | None = UNSEEN
        self._loop_thread_id = threading.get_ident()
        self._loop_cpu_s: Callable[[], float] = self._clock.cpu_of(self._loop_thread_id)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dohost-watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._interrupts.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._interrupts.__exit__()

    def _run(self) -> None:
        tick_s = TICK_S
        while not self._stopped.wait(tick_s):
            cpu_s = self._loop_cpu_s()
            running = self._meter.running
            is_over = running is not None and running.is_over(cpu_s)
            stood_still_s = self._pulse.look(self._clock.monotonic(), cpu_s)
            if stood_still_s is not None:
                self._report(stood_still_s)
            if is_over:
                self._interrupts.send()
            if self._is_answered:
                self._is_answered = False
                self._pulse.ask(self._clock.monotonic(), cpu_s)
                self._ask()
            tick_s = HURRIED_TICK_S if is_over else TICK_S

    def _ask(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._answer, context=NEUTRAL)
        except RuntimeError:
            # The loop was closed under us; whoever closed it stops this thread next.
            self._stopped.set()

    def _answer(self) -> None:
        self._is_answered = True
        now_s = self._clock.monotonic()
        late_s = self._pulse.owed_s(now_s)
        if late_s is not None:
            self._lag.observe(late_s)
        stood_still_s = self._pulse.answered(now_s, self._loop_cpu_s())
        if stood_still_s is None:
            return
        told, self._told = self._told, UNSEEN
        if told is not None:
            seconds = round(stood_still_s, 1)
            self._log.event("loop.moves_again", level="warn", **told, seconds=seconds)

    def _report(self, stood_still_s: float) -> None:
        task: object = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._loop_thread_id)
        stack = [each for each, _ in traceback.walk_stack(frame)][::-1]
        if any(_module(each).partition(".")[0] in DEBUGGERS for each in stack):
            self._told = None
            return
        own = next(
            (index for index, each in enumerate(stack) if is_worker_module(_module(each))), 0
        )
        self._told = {
            "object": repr(task.owner) if isinstance(task, Turn) else None,
            "handler": stack[own].f_code.co_qualname if stack else None,
        }
        self._log.event(
            "loop.stands_still",
            level="warn",
            **self._told,
            seconds=round(stood_still_s, 1),
            stack="\n" + _text(stack[own:]),
        )


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _text(stack: list[FrameType]) -> str:
    lines = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in stack)
    return "".join(lines.format()).rstrip()
