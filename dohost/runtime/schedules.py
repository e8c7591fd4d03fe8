"""The `scheduled` handler: run by hand, or by the crons of the configuration.

Crons fire only where that was asked for (`fire`): during development a job that runs by itself surprises.
A minute that passed while no server ran is not made up for, as on Cloudflare. Failures are logged and
don't stop later runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dohost.clock import Clock
from dohost.errors import ShuttingDown
from dohost.runtime.cron import Cron, CronError, parse_cron
from dohost.runtime.worker import Generation
from dohost.telemetry import Log

# Timers follow the monotonic clock; looking again this often bounds what a stepped wall clock costs.
SLEEP_MAX_S = 30.0
OK, EXCEPTION = "ok", "exception"


class ScheduledController:
    """What a `scheduled` handler is told: when it should run (ms since the epoch), and why."""

    type = "scheduled"

    def __init__(self, *, cron: str, scheduled_ms: int) -> None:
        self.cron = cron
        self.scheduledTime = scheduled_ms
        self.is_retry_refused = False

    def noRetry(self) -> None:
        """Ask that this run is not tried again if it fails."""
        self.is_retry_refused = True

    def __repr__(self) -> str:
        return f"<ScheduledController {self.cron!r} at {self.scheduledTime}>"


async def run_scheduled(generation: Generation, controller: ScheduledController, log: Log) -> str:
    """Run a worker's handler; return "ok", or "exception" when its failure has been logged."""
    coro = generation.handle("scheduled", controller)
    loop = asyncio.get_running_loop()
    try:
        await asyncio.Task(coro, loop=loop, context=generation.context.copy())
    except Exception as error:  # noqa: BLE001 - a handler may raise anything; the outcome says so
        log.event(
            "scheduled.failed",
            level="error",
            worker=generation.config.name,
            cron=controller.cron,
            error=f"{type(error).__name__}: {error}",
        )
        return EXCEPTION
    return OK


class Schedules:
    """The crons of the loaded workers; nothing fires before `fire`."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._is_firing = False
        self._primary: Generation | None = None
        self._crons: list[tuple[Generation, Cron]] = []
        self._seen_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[str]] = set()

    def load(self, generations: Sequence[Generation]) -> None:
        """Follow the crons of these workers from now on."""
        self._primary = generations[0]
        self._crons = [
            (generation, cron)
            for generation in generations
            for cron in map(self._parsed, generation.config.crons)
            if cron is not None
        ]

    async def run(self, controller: ScheduledController) -> str:
        """Run the primary worker's handler now. Raises: ShuttingDown before any code is loaded."""
        if self._primary is None:
            raise ShuttingDown("no code has been loaded yet")
        return await run_scheduled(self._primary, controller, self._log)

    def fire(self) -> None:
        """Begin to run what is due."""
        self._is_firing = True
        self._seen_s = self._now_s()
        self.poll()

    def poll(self) -> None:
        """Run what became due since the last look, and sleep until the next minute that matters."""
        if not self._is_firing:
            return
        if self._timer is not None:
            self._timer.cancel()
        now_s, seen_s = self._now_s(), self._seen_s
        self._seen_s = now_s
        for generation, cron in self._crons:
            due_s = cron.next_after(seen_s)
            if due_s is not None and due_s <= now_s:
                controller = ScheduledController(cron=cron.text, scheduled_ms=due_s * 1000)
                task = asyncio.ensure_future(run_scheduled(generation, controller, self._log))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        wait_s = 60 - now_s % 60 if self._crons else SLEEP_MAX_S
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(min(wait_s, SLEEP_MAX_S), self.poll)

    async def stop(self, grace_s: float) -> None:
        """Start no more runs; wait for those that run, for at most `grace_s`."""
        self._is_firing = False
        if self._timer is not None:
            self._timer.cancel()
        if self._running:
            _, late = await asyncio.wait(tuple(self._running), timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _parsed(self, text: str) -> Cron | None:
        try:
            return parse_cron(text)
        except CronError as error:
            self._log.event("scheduled.ignored", level="warn", cron=text, reason=str(error))
            return None

    def _now_s(self) -> float:
        return self._clock.realtime_ns() / 1_000_000_000
