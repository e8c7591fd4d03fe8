"""Bookmarks of a running object, adapted: point-in-time recovery works here."""

from __future__ import annotations

import pytest
from host_bench import Bench

from dohost.errors import JsException

COUNTER = """
class Counter(DurableObject):
    async def add(self):
        count = (await self.ctx.storage.get("count") or 0) + 1
        await self.ctx.storage.put("count", count)
        return count

    async def count(self):
        return await self.ctx.storage.get("count")

    async def bookmark(self):
        return await self.ctx.storage.getCurrentBookmark()

    async def at(self, time):
        return await self.ctx.storage.getBookmarkForTime(time)

    async def undo_of_going_to(self, bookmark):
        return await self.ctx.storage.onNextSessionRestoreBookmark(bookmark)

    async def go(self, bookmark):
        await self.ctx.storage.put("count", 99)
        await self.ctx.storage.onNextSessionRestoreBookmark(bookmark)
        self.ctx.abort("going back")

    async def wake_at(self, time):
        await self.ctx.storage.setAlarm(time)

    async def wake_never(self):
        await self.ctx.storage.deleteAlarm()

    async def alarm(self):
        await self.ctx.storage.put("count", "alarm")
"""


async def test_J15_bookmarks_increase_over_restarts(bench: Bench) -> None:
    await bench.run(COUNTER)
    bookmarks = [await bench.stub().bookmark() for _ in range(20)]
    await bench.stub().add()
    bookmarks.append(await bench.stub().bookmark())
    await bench.restart(COUNTER)
    bookmarks += [await bench.stub().bookmark() for _ in range(20)]
    assert sorted(set(bookmarks)) == bookmarks


async def test_J15_abort_begins_again_with_the_state_of_a_bookmark(bench: Bench) -> None:
    await bench.run(COUNTER)
    await bench.stub().add()
    before = await bench.stub().bookmark()
    await bench.stub().add()
    with pytest.raises(JsException, match="going back"):
        await bench.stub().go(before)
    assert await bench.stub().count() == 1
    assert await bench.stub().add() == 2


async def test_J15_a_restore_waits_for_the_next_start_and_can_be_undone(bench: Bench) -> None:
    await bench.run(COUNTER)
    await bench.stub().add()
    early_ms = bench.clock.realtime_ns() // 1_000_000 + 1000
    bench.clock.advance(60)
    await bench.stub().add()
    undo = await bench.stub().undo_of_going_to(await bench.stub().at(early_ms))
    assert await bench.stub().add() == 3
    await bench.restart(COUNTER)
    assert await bench.stub().count() == 1
    await bench.stub().undo_of_going_to(undo)
    await bench.restart(COUNTER)
    assert await bench.stub().count() == 3


async def test_J15_a_restored_alarm_fires(bench: Bench) -> None:
    await bench.run(COUNTER)
    await bench.stub().wake_at(bench.clock.realtime_ns() // 1_000_000 + 5000)
    before = await bench.stub().bookmark()
    await bench.stub().wake_never()
    await bench.stub().undo_of_going_to(before)
    await bench.restart(COUNTER)
    assert await bench.stub().count() is None
    bench.clock.advance(6)
    alarms = bench.host.parts.alarms
    alarms.poll()
    await alarms.stop()
    assert await bench.stub().count() == "alarm"
