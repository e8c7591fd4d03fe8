"""The `scheduled` handler, by hand and by crons."""

from __future__ import annotations

import asyncio

from host_bench import Bench

from dohost.runtime.schedules import ScheduledController

CODE = """
runs = []

class Default(WorkerEntrypoint):
    async def scheduled(self, controller, env, ctx):
        assert env is self.env and ctx is self.ctx
        runs.append([controller.cron, controller.scheduledTime])
        if controller.cron == "fail":
            controller.noRetry()
            raise ValueError("no")

    async def fetch(self, request):
        return Response.json(runs)
"""


async def test_a_failure_is_an_outcome_and_an_event(bench: Bench) -> None:
    await bench.run(CODE)
    controller = ScheduledController(cron="fail", scheduled_ms=1)
    assert await bench.host.schedules.run(controller) == "exception"
    assert controller.is_retry_refused
    (failed,) = [event for event in bench.events if event.name == "scheduled.failed"]
    assert failed.fields["error"] == "ValueError: no"


async def test_crons_fire_only_when_asked_and_once_a_minute(bench: Bench) -> None:
    await bench.run(bench.config(CODE, crons=("* * * * *", "nonsense")))
    schedules = bench.host.schedules
    bench.clock.advance(120)
    schedules.poll()
    schedules.fire()
    bench.clock.advance(61)
    schedules.poll()
    schedules.poll()
    for _ in range(5):
        await asyncio.sleep(0)
    ((cron, time_ms),) = await (await bench.get()).json()
    assert cron == "* * * * *"
    assert time_ms % 60_000 == 0
    assert time_ms <= bench.clock.realtime_ns() // 1_000_000 < time_ms + 60_000
    assert [event.name for event in bench.events].count("scheduled.ignored") == 1
