"""deleteAll to the last rule."""

from __future__ import annotations

import pytest
from host_bench import Bench

from dohost.errors import JsException

BOX = """
class Box(DurableObject):
    async def fill(self):
        await self.ctx.storage.put({"a": 1, "b": 2})
        sql = self.ctx.storage.sql
        sql.exec("CREATE TABLE IF NOT EXISTS t (x REFERENCES t2 (id))")
        sql.exec("CREATE TABLE IF NOT EXISTS t2 (id INTEGER PRIMARY KEY)")
        sql.exec("CREATE VIEW IF NOT EXISTS v AS SELECT * FROM t")
        sql.exec("CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (word)")
        sql.exec("INSERT INTO t2 VALUES (1)")
        sql.exec("INSERT INTO t VALUES (1)")
        return sql.databaseSize

    async def wake(self, time):
        await self.ctx.storage.setAlarm(time)

    async def clear(self):
        self.cursor = self.ctx.storage.sql.exec("SELECT * FROM t")
        await self.ctx.storage.put("lost", 1)
        result = await self.ctx.storage.deleteAll({"allowUnconfirmed": True})
        await self.ctx.storage.put("after", 1)
        return result

    async def clear_in_transaction(self):
        async def inside(txn):
            await txn.deleteAll()
        await self.ctx.storage.transaction(inside)

    async def look(self):
        tables = self.ctx.storage.sql.exec("SELECT name FROM sqlite_schema WHERE type = 'table'")
        names = [row["name"] for row in tables if not row["name"].startswith("_cf_")]
        return [dict(await self.ctx.storage.list()), names, await self.ctx.storage.getAlarm()]

    async def size(self):
        return self.ctx.storage.sql.databaseSize

    async def count(self):
        count = (await self.ctx.storage.get("count") or 0) + 1
        await self.ctx.storage.put("count", count)
        return count

    async def empty(self):
        await self.ctx.storage.deleteAll()

    async def alarm(self):
        await self.ctx.storage.deleteAll()
"""
OLD = {"compatibility_date": "2026-02-23"}
NEW = {"compatibility_date": "2026-02-24"}


def later_ms(bench: Bench, seconds: float = 1.0) -> int:
    return bench.clock.realtime_ns() // 1_000_000 + round(seconds * 1000)


async def fire(bench: Bench) -> None:
    alarms = bench.host.parts.alarms
    runner = alarms._runner
    bench.clock.advance(2)
    alarms.poll()
    await alarms.stop()
    alarms._runner = runner


async def test_D19_delete_all_leaves_nothing(bench: Bench) -> None:
    await bench.run(BOX)
    stub = bench.stub(class_name="Box")
    await stub.fill()
    assert await stub.clear() is None
    assert await stub.look() == [{"after": 1}, [], None]
    await bench.restart(BOX)
    assert await bench.stub(class_name="Box").look() == [{"after": 1}, [], None]
    with pytest.raises(JsException, match=r"Cannot call deleteAll\(\) within a transaction"):
        await bench.stub(class_name="Box").clear_in_transaction()


@pytest.mark.parametrize(("date", "is_kept"), [(OLD, True), (NEW, False), ({}, False)])
async def test_H18_delete_all_and_the_alarm(bench: Bench, date, is_kept: bool) -> None:
    await bench.run(bench.config(BOX, **date))
    stub = bench.stub(class_name="Box")
    due_ms = later_ms(bench, 3600)
    await stub.fill()
    await stub.wake(due_ms)
    await stub.empty()
    assert await stub.look() == [{}, [], due_ms if is_kept else None]


@pytest.mark.parametrize("date", [OLD, NEW])
async def test_H19_delete_all_in_the_handler_leaves_no_alarm(bench: Bench, date) -> None:
    await bench.run(bench.config(BOX, **date))
    stub = bench.stub(class_name="Box")
    await stub.fill()
    await stub.wake(later_ms(bench))
    await fire(bench)
    assert await stub.look() == [{}, [], None]
    address = ("app-Box", stub.id.toString())
    assert bench.host.parts.alarms.due_ms(address) is None


async def test_J16_an_emptied_object_counts_anew(bench: Bench) -> None:
    await bench.run(BOX)
    stub = bench.stub(class_name="Box")
    empty_bytes = await stub.size()
    for _ in range(2):
        assert [await stub.count(), await stub.count()] == [1, 2]
        await stub.empty()
    assert await stub.size() == empty_bytes
