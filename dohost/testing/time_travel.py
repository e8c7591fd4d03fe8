"""Moving time forward under test: the wall clock, the loop's timers, and all that they make due.

The wall clock stands still but for these steps; the loop's time runs on, and each step skips it by as much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dohost.clock import ManualClock
from dohost.errors import CallerError
from dohost.runtime.host import Host
from dohost.testing.loop_time import LoopTime

# A program that never rests must not keep a test from going on.
ROUNDS_MAX = 100_000
STOPS_MAX = 1000
STOP_MIN_S = 0.001


class TimeTravel:
    """Moves the time of the host that runs now: `host` returns it, as a restart changes it."""

    def __init__(self, clock: ManualClock, loop_time: LoopTime, host: Callable[[], Host]) -> None:
        self._clock = clock
        self._loop_time = loop_time
        self._host = host

    async def advance(self, seconds: float) -> None:
        """Go forward by steps from one due time to the next. Raises: CallerError if backward."""
        if seconds < 0:
            raise CallerError(
                "Time goes forward only; use dohost.clock.jump() for a wrong wall clock."
            )
        end_ns = self._clock.realtime_ns() + round(seconds * 1e9)
        await self.settle()
        while (left_ns := end_ns - self._clock.realtime_ns()) > 0:
            step_s = min(left_ns, self._next_stop_ns(seconds / STOPS_MAX)) / 1e9
            self._clock.advance(step_s)
            self._loop_time.skip(step_s)
            # These keep their times by the wall clock; their timers may be due a moment before.
            self._host().parts.alarms.poll()
            self._host().resources.queues.poll()
            await self.settle()

    async def settle(self) -> None:
        """Let everything run that can run without time going on or help from outside."""
        for _ in range(ROUNDS_MAX):
            # A turn of the loop, and a moment for threads where only they have work.
            await asyncio.sleep(0)
            if self._loop_time.is_ready:
                continue
            if not self._host().is_working:
                return
            await asyncio.sleep(0.0001)

    def _next_stop_ns(self, grain_s: float) -> int:
        timer_s = self._loop_time.next_timer_s()
        stop_ns = round(max(STOP_MIN_S, grain_s, timer_s or 0.0) * 1e9)
        fire_ms = self._host().parts.alarms.next_fire_ms()
        now_ns = self._clock.realtime_ns()
        if fire_ms is not None and fire_ms > now_ns // 1_000_000:
            stop_ns = min(stop_ns, fire_ms * 1_000_000 - now_ns)
        return stop_ns
