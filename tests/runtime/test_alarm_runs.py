"""Alarms of real objects: set, fired, retried, brought back by a restart."""

from __future__ import annotations

import asyncio
import time

ALARM = """
class Clock(DurableObject):
    async def set(self, ms):
        await self.ctx.storage.setAlarm(ms)

    async def get(self):
        return await self.ctx.storage.getAlarm()

    async def fired(self):
        return await self.ctx.storage.get("fired")

    async def alarm(self, info):
        count = (await self.ctx.storage.get("fired") or 0) + 1
        await self.ctx.storage.put("fired", count)
        assert await self.ctx.storage.getAlarm() is None
        if await self.ctx.storage.get("fail"):
            raise ValueError("alarm failed")
"""


async def wait_for(condition, *, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.001)


def now_ms(bench) -> int:
    return bench.clock.realtime_ns() // 1_000_000


async def test_an_alarm_fires_once_at_its_time(bench) -> None:
    await bench.run(ALARM)
    clock = bench.stub(class_name="Clock")
    due_ms = now_ms(bench) + 1000
    await clock.set(due_ms)
    assert await clock.get() == due_ms
    bench.clock.advance(1)
    bench.host.parts.alarms.poll()
    await wait_for(lambda: _is(clock.fired(), 1))
    assert await clock.get() is None
    bench.clock.advance(100)
    bench.host.parts.alarms.poll()
    await asyncio.sleep(0.01)
    assert await clock.fired() == 1


async def _is(reply, expected) -> bool:
    return await reply == expected


async def test_an_overdue_alarm_fires_after_a_restart_without_any_request(bench) -> None:
    await bench.run(ALARM)
    await bench.stub(class_name="Clock").set(now_ms(bench) + 1000)
    bench.clock.advance(5)
    await bench.restart(ALARM)
    clock = bench.stub(class_name="Clock")
    await wait_for(lambda: _is(clock.fired(), 1))


async def test_an_alarm_handler_that_fails_is_retried(bench) -> None:
    await bench.run(ALARM)
    clock = bench.stub(class_name="Clock")
    actor_storage = bench.host.classes["app-Clock"].actor(clock.id).storage
    await actor_storage.put("fail", True)
    await clock.set(now_ms(bench))

    async def retry_is_planned() -> bool:
        return any(event.name == "alarm.retry" for event in bench.events)

    await wait_for(retry_is_planned)
    assert await clock.get() is not None
    bench.clock.advance(3)
    bench.host.parts.alarms.poll()
    await wait_for(lambda: _is(clock.fired(), 2))
