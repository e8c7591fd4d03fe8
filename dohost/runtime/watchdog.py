"""A thread that notices when the event loop does not move, says whose code runs, and ends what may be ended.

Every object shares one thread, so code that computes or blocks keeps all others waiting. The watchdog asks
the loop for a sign of life a few times a second, which costs a request nothing. When none comes it
reports the running object, its handler and its stack, once; and once more, with the length, when the
loop goes on. An object that is over its limit of processor time is interrupted meanwhile (`interrupts`).

What it can't see: while code in C keeps the interpreter to itself (`re`, `json`, a big sum), this thread
stands still too. It then reports afterwards how long that took. A process that was stopped or suspended
looks the same but used no processor time, and a debugger's prompt is where somebody wants to be: neither
is reported. `Pulse` decides, on the times that it is given; the rest only asks and tells.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType

from dohost.clock import Clock
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
DEBUGGERS = frozenset(["bdb", "pdb", "debugpy", "_pydevd_bundle", "pydevd", "IPython"])


class Pulse:
    """Since when the loop owes a sign of life, and what there is to say about that."""

    def __init__(self, hang_s: float) -> None:
        self._hang_s = hang_s
        self._asked_s: float | None = None
        self._looked_s: float | None = None
        self._is_told = False

    def look(self, now_s: float, cpu_s: float) -> float | None:
        """Return for how long the loop has stood still, if that is to be reported now.

        `cpu_s`: how much processor time its thread has used since the last look.
        """
        last_s, self._looked_s = self._looked_s, now_s
        asked_s = self._asked_s
        if asked_s is None or self._is_told:
            return None
        slept_s = 0.0 if last_s is None else now_s - last_s
        if slept_s > max(self._hang_s, SUSPENDED_S) and cpu_s < slept_s / 2:
            # Nothing ran at all: the process was stopped, or the machine slept.
            self._asked_s = now_s
            return None
        if now_s - asked_s <= self._hang_s:
            return None
        self._is_told = True
        return now_s - asked_s

    @property
    def is_answered(self) -> bool:
        """Whether the loop has answered, so that it can be asked again."""
        return self._asked_s is None

    def asked(self, now_s: float) -> None:
        """Note that the loop was asked."""
        self._asked_s = now_s

    def answered(self, now_s: float) -> float | None:
        """Note a sign of life; return how long the loop stood still, if that was reported."""
        asked_s, self._asked_s = self._asked_s, None
        was_told, self._is_told = self._is_told, False
        return now_s - asked_s if was_told and asked_s is not None else None


class Watchdog:
    """Context manager; made and left on the loop's thread."""

    def __init__(self, parts: Parts, *, hang_s: float = HANG_S_DEFAULT) -> None:
        self._loop = parts.loop
        self._log: Log = parts.log
        self._clock: Clock = parts.clock
        self._meter = parts.meter
        self._interrupts = Interrupts(parts.meter)
        self._pulse = Pulse(hang_s)
        self._told: dict[str, object] = {}
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
        cpu_s = self._loop_cpu_s()
        tick_s = TICK_S
        while not self._stopped.wait(tick_s):
            before_s, cpu_s = cpu_s, self._loop_cpu_s()
            running = self._meter.running
            is_over = running is not None and running.is_over(cpu_s)
            stood_still_s = self._pulse.look(self._clock.monotonic(), cpu_s - before_s)
            if stood_still_s is not None:
                self._report(stood_still_s)
            if is_over:
                self._interrupts.send()
            if self._pulse.is_answered:
                self._pulse.asked(self._clock.monotonic())
                self._ask()
            tick_s = HURRIED_TICK_S if is_over else TICK_S

    def _ask(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._answer, context=NEUTRAL)
        except RuntimeError:
            # The loop was closed under us; whoever closed it stops this thread next.
            self._stopped.set()

    def _answer(self) -> None:
        stood_still_s = self._pulse.answered(self._clock.monotonic())
        if stood_still_s is not None and self._told:
            told, self._told = self._told, {}
            self._log.event(
                "loop.moves_again", level="warn", **told, seconds=round(stood_still_s, 1)
            )

    def _report(self, stood_still_s: float) -> None:
        task: object = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._loop_thread_id)
        stack = [each for each, _ in traceback.walk_stack(frame)][::-1]
        if any(_module(each).partition(".")[0] in DEBUGGERS for each in stack):
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
