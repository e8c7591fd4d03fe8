"""An event loop in which time is a number and every choice is a seed's.

Nothing waits here: when no callback is ready, time jumps to the next timer. Which ready callback runs
next is drawn from `chance`, so one seed is one schedule, and another run of it is the same program to the
last callback. asyncio and uvloop run ready callbacks first come, first served, but what comes first is the
doing of sockets, threads and timers; `disorder` says how often the order is broken here (0: never).
Threads are callbacks, too: a job begins some time after it is submitted, and what it tells the loop arrives some
time after that, so everything that can happen before, between and after them happens in some schedule.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from concurrent.futures import Executor, Future

EPOCH_NS = 1_790_000_000_000_000_000
STEPS_MAX = 20_000


class Stalled(AssertionError):
    """Nothing can ever happen any more, or nothing ever ends."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks one by one, in an order drawn from `chance`."""

    def __init__(self, chance: random.Random, *, disorder: float) -> None:
        super().__init__()
        self._chance = chance
        self._disorder = disorder
        self._now_s = 1_000.0
        self.steps = 0
        # Called before each step; what it raises ends the run as a crash of the process does.
        self.before_step: Callable[[], None] = _nothing
        # How long it takes until the loop hears of a thread.
        self.delivery_s: Callable[[], float] = float

    def time(self) -> float:
        return self._now_s

    def pass_time(self, seconds: float) -> None:
        """Let time pass inside a callback, as a call does that blocks."""
        self._now_s += seconds

    def call_soon_threadsafe(self, callback, *args, context=None):  # type: ignore[no-untyped-def] # as asyncio's
        return self.call_later(self.delivery_s(), callback, *args, context=context)

    def close(self) -> None:
        """Forget everything that was to happen."""
        self._ready.clear()  # type: ignore[attr-defined] # asyncio's queue, see `_run_once`
        self._scheduled.clear()  # type: ignore[attr-defined] # asyncio's heap
        super().close()

    def _run_once(self) -> None:
        # asyncio's own hook: `run_forever` calls it until the loop is stopped. The names of its queue
        # and its heap have been the same since it exists.
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined] # see above
        if not ready:
            while scheduled and scheduled[0]._cancelled:
                heapq.heappop(scheduled)._scheduled = False
            if not scheduled:
                raise Stalled("no callback is ready and no timer is set")
            self._now_s = max(self._now_s, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._now_s:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        index = 0
        if len(ready) > 1 and self._disorder and self._chance.random() < self._disorder:
            index = self._chance.randrange(len(ready))
        handle = ready[index]
        del ready[index]
        if handle._cancelled:
            return
        self.steps += 1
        if self.steps > STEPS_MAX:
            raise Stalled(f"{STEPS_MAX} callbacks have run and it is not over")
        self.before_step()
        handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it to `_run_once` to drop it."""


class VirtualClock:
    """The machine's clocks in a loop's time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.time()

    def thread_cpu(self) -> float:
        return 0.0

    def realtime_ns(self) -> int:
        return EPOCH_NS + round(self._loop.time() * 1e9)


class VirtualThreads(Executor):
    """Runs each job as a callback, a while after it was submitted."""

    def __init__(self, loop: VirtualLoop, delay_s: Callable[[], float]) -> None:
        self._loop = loop
        self._delay_s = delay_s
        self.is_inside = False

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def] # as Executor's
        future: Future[object] = Future()
        self._loop.call_later(self._delay_s(), self._run, future, fn, args, kwargs)
        return future

    def _run(self, future, fn, args, kwargs) -> None:  # type: ignore[no-untyped-def] # as above
        self.is_inside = True
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        finally:
            self.is_inside = False


def _nothing() -> None:
    """Let the step happen."""
