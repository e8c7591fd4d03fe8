"""A damaged or missing file is its object's problem and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import msgspec
import pytest
from host_bench import Bench

from dohost.errors import CallerError, JsException
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.host import Host
from dohost.runtime.known_objects import LOGGED_MAX, MissingFiles
from dohost.runtime.upkeep import Upkeep
from dohost.storage.schema import image

COUNTER = """
class Counter(DurableObject):
    async def add(self):
        count = (await self.ctx.storage.get("count") or 0) + 1
        await self.ctx.storage.put("count", count)
        return count

    async def wake(self, time):
        await self.ctx.storage.setAlarm(time)

    async def alarm(self):
        await self.add()
"""


def file_of(bench: Bench, name: str = "a") -> Path:
    return bench.host.classes["app-Counter"].file_of(bench.namespace().idFromName(name).toString())


async def fire(bench: Bench) -> None:
    alarms = bench.host.parts.alarms
    alarms.poll()
    await asyncio.wait(tuple(alarms._running.values()))


def warnings(bench: Bench) -> list[object]:
    return [event.fields for event in bench.events if event.name == "object.file_missing"]


@pytest.mark.parametrize("content", [b"", b"x", b"junk" * 5000])
async def test_others_go_on_beside_a_damaged_object(bench: Bench, content: bytes) -> None:
    await bench.run(COUNTER)
    for name in ("a", "b"):
        await bench.stub(name).add()
    path = file_of(bench)
    await bench.host.drain(grace_s=1)
    path.write_bytes(content)
    await bench.restart(COUNTER)
    for _ in range(2):
        with pytest.raises(JsException, match=path.name) as caught:
            await bench.stub("a").add()
        assert (caught.value.code, caught.value.status) == ("object-quarantined", 500)
        assert not caught.value.remote
        assert await bench.stub("b").add() > 1
    assert path.read_bytes() == content


async def test_the_alarm_of_a_damaged_object_waits(bench: Bench) -> None:
    await bench.run(COUNTER)
    await bench.stub().wake(bench.clock.realtime_ns() // 1_000_000 + 1000)
    path = file_of(bench)
    good = path.read_bytes()
    await bench.host.drain(grace_s=1)
    path.write_bytes(b"")
    await bench.restart(COUNTER)
    bench.clock.advance(2)
    alarms = bench.host.parts.alarms
    await fire(bench)
    assert alarms.due_ms(("app-Counter", path.stem)) is not None
    path.write_bytes(good)
    bench.clock.advance(60)
    await fire(bench)
    assert await bench.stub().add() == 2


async def test_a_missing_file_is_said_once_and_the_object_begins_empty(bench: Bench) -> None:
    await bench.run(COUNTER)
    for name in ("a", "b"):
        await bench.stub(name).add()
    await bench.stub().wake(bench.clock.realtime_ns() // 1_000_000 + 1000)
    path = file_of(bench)
    await bench.host.drain(grace_s=1)
    for each in path.parent.glob(f"{path.stem}*"):
        each.unlink()
    await bench.restart(COUNTER)
    assert warnings(bench) == [{"object": "app-Counter/a", "then": "start-empty"}]
    assert await bench.stub("b").add() == 2
    await bench.restart(COUNTER)
    assert len(warnings(bench)) == 1
    assert await bench.stub("a").add() == 1


async def test_in_production_a_missing_file_is_quarantined_until_it_is_removed(
    bench: Bench,
) -> None:
    await bench.run(COUNTER)
    await bench.stub("a").add()
    path = file_of(bench)
    await bench.host.drain(grace_s=1)
    for each in path.parent.glob(f"{path.stem}*"):
        each.unlink()
    for is_removed in (False, True):
        options = msgspec.structs.replace(bench.host.options, missing_files=MissingFiles.quarantine)
        bench.host = Host(options)
        await bench.run(COUNTER)
        with pytest.raises(JsException, match="is missing; the object is known"):
            await bench.stub("a").add()
        assert await bench.stub("new").add() >= 1
        assert not path.exists()
        if not is_removed:
            await bench.host.drain(grace_s=1)
        else:
            await Upkeep(bench.host).remove(ObjectKey("app-Counter", path.stem))
            assert await bench.stub("a").add() == 1
            with pytest.raises(CallerError, match="stored nothing"):
                await Upkeep(bench.host).remove(ObjectKey("app-Counter", "0" * 64))


async def test_many_missing_files_are_counted(bench: Bench) -> None:
    await bench.run(COUNTER)
    for number in range(LOGGED_MAX + 3):
        await bench.stub(str(number)).add()
    directory = file_of(bench).parent
    await bench.host.drain(grace_s=1)
    for each in directory.iterdir():
        each.unlink()
    await bench.restart(COUNTER)
    assert len(warnings(bench)) == LOGGED_MAX + 1
    assert warnings(bench)[-1] == {"more": 3}


async def after_first_power_cut(bench: Bench, *, keeps_catalog: bool, keeps_log: bool) -> Path:
    """Leave a torn new file of "b" and a catalog in which nothing was recorded yet, or none at all."""
    await bench.run(COUNTER)
    await bench.stub("b").add()
    path, persist = file_of(bench, "b"), bench.host.options.persist
    await bench.host.drain(grace_s=1)
    content = bytearray(image())
    content[4096:4608] = bytes(512)
    path.write_bytes(content)
    if not keeps_log:
        Path(f"{path}-wal").unlink()
    catalog = persist / "catalog.sqlite"
    if keeps_catalog:
        with contextlib.closing(sqlite3.connect(catalog)) as connection:
            connection.execute("DELETE FROM objects")
            connection.commit()
    else:
        for each in persist.glob("catalog.sqlite*"):
            each.unlink()
    await bench.restart(COUNTER)
    return path


async def test_a_new_file_torn_by_a_power_cut_is_begun_anew_though_the_catalog_knows_nothing(
    bench: Bench,
) -> None:
    path = await after_first_power_cut(bench, keeps_catalog=True, keeps_log=False)
    assert await bench.stub("b").add() == 1
    assert path.with_name(f"{path.name}.unfinished").exists()


async def test_a_torn_file_is_a_new_one_whatever_its_log_says_where_the_catalog_is_left(
    bench: Bench,
) -> None:
    await after_first_power_cut(bench, keeps_catalog=True, keeps_log=True)
    assert await bench.host.parts.catalog.all_objects() == []


async def test_a_torn_file_with_a_log_is_no_new_one_where_the_catalog_was_lost(
    bench: Bench,
) -> None:
    path = await after_first_power_cut(bench, keeps_catalog=False, keeps_log=True)
    known = await bench.host.parts.catalog.all_objects()
    assert [key.object_id for key in known] == [path.stem]
    assert not path.with_name(f"{path.name}.unfinished").exists()


async def test_a_torn_file_alone_is_a_new_one_also_where_the_catalog_was_lost(
    bench: Bench,
) -> None:
    await after_first_power_cut(bench, keeps_catalog=False, keeps_log=False)
    assert await bench.host.parts.catalog.all_objects() == []
    assert await bench.stub("b").add() == 1


async def test_a_file_that_no_object_has_is_not_recorded(bench: Bench) -> None:
    await bench.run(COUNTER)
    await bench.stub("b").add()
    path, persist = file_of(bench, "b"), bench.host.options.persist
    await bench.host.drain(grace_s=1)
    for name in (f"{path.stem}.1.sqlite", f"{path.stem}.old.sqlite"):
        path.with_name(name).write_bytes(path.read_bytes())
    for each in persist.glob("catalog.sqlite*"):
        each.unlink()
    await bench.restart(COUNTER)
    known = await bench.host.parts.catalog.all_objects()
    assert [key.object_id for key in known] == [path.stem]
