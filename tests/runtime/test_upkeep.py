"""Work on whole objects: copies out while they go on, copies in, removals, the catalog made anew."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from host_bench import Bench

from dohost.errors import CallerError, DohostError, JsException, Overloaded
from dohost.runtime import cuts, upkeep
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.cuts import UNUSED_MAX_S
from dohost.runtime.known_objects import read_all
from dohost.runtime.upkeep import Upkeep
from dohost.storage.copies import Copied, copy_out
from dohost.storage.inspection import verify
from dohost.storage.schema import ObjectMeta
from dohost.storage.timeline import LogState

CODE = """
import asyncio

class Ledger(DurableObject):
    async def add(self, other=None, rows=1):
        count = (await self.ctx.storage.get("count") or 0) + 1
        await self.ctx.storage.put("count", count)
        for row in range(rows):
            await self.ctx.storage.put(f"row{row % 50}", "x" * 2000)
        if other is not None:
            await self.env.LEDGER.getByName(other).follow(count)
        return count

    async def follow(self, count):
        await self.ctx.storage.put("count", count)

    async def count(self):
        return await self.ctx.storage.get("count")

    async def bookmark(self):
        return await self.ctx.storage.getCurrentBookmark()

    async def go(self, bookmark):
        await self.ctx.storage.onNextSessionRestoreBookmark(bookmark)
        self.ctx.abort("going back")

    async def wake(self, time):
        await self.ctx.storage.setAlarm(time)

    async def alarm(self):
        pass
"""


def key(bench: Bench, name: str = "a") -> ObjectKey:
    found = bench.namespace("Ledger").idFromName(name)
    return ObjectKey("app-Ledger", found.toString(), found.name)


def ledger(bench: Bench, name: str = "a"):
    return bench.stub(name, class_name="Ledger")


def count_in(file: Path) -> int:
    connection = sqlite3.connect(file)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (value,) = connection.execute("SELECT value FROM _cf_KV WHERE key = 'count'").fetchone()
        return int(value)
    finally:
        connection.close()


async def test_a_backup_under_load_is_one_moment_of_all_objects(bench: Bench) -> None:
    await bench.run(CODE)
    upkeep = Upkeep(bench.host)
    is_over = False

    async def load() -> None:
        while not is_over:
            await ledger(bench).add("b", 40)

    task = asyncio.ensure_future(load())
    for number in range(6):
        while (await ledger(bench).count() or 0) < (number + 1) * 8:
            await asyncio.sleep(0)
        low = await ledger(bench).count()
        backup = await upkeep.begin_backup(["app-Ledger"])
        high = await ledger(bench).count()
        # The follower first and the leader long after: copied one by one, they would not agree.
        items = sorted(backup.items, key=lambda item: item.object_id != key(bench, "b").object_id)
        counts = []
        for item in items:
            target = bench.root / f"backup{number}" / f"{item.object_id}.sqlite"
            assert await upkeep.copy_backup(backup.number, item, target) is not None
            counts.append(count_in(target))
            await ledger(bench).add("b", 60)
        upkeep.end_backup(backup.number)
        follower, leader = counts
        assert leader - 2 <= follower <= leader
        assert low <= leader <= high
    is_over = True
    await task


async def test_what_is_newer_than_a_backup_is_not_in_it(bench: Bench) -> None:
    await bench.run(CODE)
    await ledger(bench).add()
    await bench.restart(CODE)
    upkeep = Upkeep(bench.host)
    backup = await upkeep.begin_backup(["app-Ledger"])
    await ledger(bench, "new").add()
    assert await ledger(bench).add() == 2
    (item,) = backup.items
    assert await upkeep.copy_backup(backup.number, item, bench.root / "a.sqlite") is not None
    assert count_in(bench.root / "a.sqlite") == 1
    later = type(item)(unique_key="app-Ledger", object_id=key(bench, "new").object_id)
    assert await upkeep.copy_backup(backup.number, later, bench.root / "n.sqlite") is None
    upkeep.end_backup(backup.number)
    with pytest.raises(CallerError, match="This backup has ended"):
        await upkeep.copy_backup(backup.number, item, bench.root / "c.sqlite")
    assert UNUSED_MAX_S > 1


async def test_a_copy_that_takes_long_is_not_torn_by_checkpoints(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(CODE)
    await ledger(bench).add()
    upkeep, copying, go_on = Upkeep(bench.host), threading.Event(), threading.Event()

    def slow(path: Path, log: LogState, target: Path) -> Copied:
        copying.set()
        assert go_on.wait(10)
        return copy_out(path, log, target)

    monkeypatch.setattr(cuts, "copy_out", slow)
    monkeypatch.setattr(cuts, "UNUSED_MAX_S", 0.01)
    for is_ended in (False, True):
        backup = await upkeep.begin_backup(["app-Ledger"])
        target = bench.root / f"{is_ended}.sqlite"
        copy = asyncio.ensure_future(upkeep.copy_backup(backup.number, backup.items[0], target))
        await asyncio.to_thread(copying.wait, 10)
        # Files that are to go stay until they are copied.
        path = upkeep.file_of(key(bench))
        keeping = asyncio.ensure_future(bench.host.parts.cuts.keep(key(bench).address, path))
        await asyncio.sleep(0.05)
        assert not keeping.done()
        if is_ended:
            upkeep.end_backup(backup.number)
        go_on.set()
        if is_ended:
            with pytest.raises(CallerError, match="ended"):
                await copy
        else:
            assert await copy is not None
        assert target.exists() is not is_ended
        await keeping
        copying.clear()
        go_on.clear()
    await asyncio.sleep(0.05)
    assert not bench.host.parts.cuts._open


async def test_export_and_import_give_the_same_bytes(bench: Bench) -> None:
    await bench.run(CODE)
    await ledger(bench).add(None, 200)
    upkeep = Upkeep(bench.host)
    first, second = bench.root / "first.sqlite", bench.root / "second.sqlite"
    await upkeep.export(key(bench), first)
    with pytest.raises(CallerError, match="exists already"):
        await upkeep.export(key(bench), first)
    await upkeep.remove(key(bench))
    await upkeep.import_file(key(bench), first, replaces=False)
    await upkeep.export(key(bench), second)
    dumps = []
    for file in (first, second):
        connection = sqlite3.connect(file)
        dumps.append(list(connection.iterdump()))
        connection.close()
    assert dumps[0] == dumps[1]
    assert await ledger(bench).add() == 2


async def test_an_import_replaces_only_when_asked_and_can_be_undone(bench: Bench) -> None:
    await bench.run(CODE)
    await ledger(bench).add()
    upkeep = Upkeep(bench.host)
    file = bench.root / "one.sqlite"
    await upkeep.export(key(bench), file)
    await ledger(bench).add()
    before = await ledger(bench).bookmark()
    with pytest.raises(CallerError, match="exists already"):
        await upkeep.import_file(key(bench), file, replaces=False)
    assert await ledger(bench).count() == 2
    await upkeep.import_file(key(bench), file, replaces=True)
    assert await ledger(bench).count() == 1
    with pytest.raises(DohostError, match="going back"):
        await ledger(bench).go(before)
    assert await ledger(bench).count() == 2


async def test_an_import_belongs_to_its_new_object_with_its_alarm(bench: Bench) -> None:
    await bench.run(CODE)
    due_ms = bench.clock.realtime_ns() // 1_000_000 + 60_000
    await ledger(bench).add()
    await ledger(bench).wake(due_ms)
    upkeep = Upkeep(bench.host)
    file = bench.root / "one.sqlite"
    await upkeep.export(key(bench), file)
    await upkeep.import_file(key(bench, "copy"), file, replaces=False)
    copy = key(bench, "copy")
    meta = ObjectMeta(unique_key="app-Ledger", object_id=copy.object_id, name="copy")
    assert verify(upkeep.file_of(copy), meta).problems == ()
    assert bench.host.parts.alarms.due_ms(copy.address) == due_ms
    assert await ledger(bench, "copy").add() == 2
    assert await ledger(bench).count() == 1


async def test_a_plain_database_can_be_an_object(bench: Bench) -> None:
    await bench.run(CODE)
    file = bench.root / "plain.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    await Upkeep(bench.host).import_file(key(bench), file, replaces=False)
    assert await ledger(bench).add() == 1


@pytest.mark.parametrize("content", [None, b"junk" * 5000, b"SQLite format 3\0" + b"x" * 5000])
async def test_what_is_no_database_is_not_imported(bench: Bench, content: bytes | None) -> None:
    await bench.run(CODE)
    await ledger(bench).add()
    file = bench.root / "junk.sqlite"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CallerError, match=r"can't be imported|There is no file"):
        await Upkeep(bench.host).import_file(key(bench), file, replaces=True)
    assert await ledger(bench).add() == 2
    assert not list(Upkeep(bench.host).file_of(key(bench)).parent.glob("*.importing*"))


async def test_a_damaged_object_is_set_aside_for_an_import(bench: Bench) -> None:
    await bench.run(CODE)
    await ledger(bench).add()
    upkeep, file = Upkeep(bench.host), bench.root / "good.sqlite"
    await upkeep.export(key(bench), file)
    path = upkeep.file_of(key(bench))
    await bench.host.drain(grace_s=1)
    path.write_bytes(b"x")
    await bench.restart(CODE)
    await Upkeep(bench.host).import_file(key(bench), file, replaces=True)
    assert await ledger(bench).add() == 2
    assert (path.with_suffix(".damaged") / path.name).read_bytes() == b"x"


async def test_a_removed_object_is_gone_with_its_past_and_alarm(bench: Bench) -> None:
    await bench.run(CODE)
    await ledger(bench).add()
    await ledger(bench).bookmark()
    await ledger(bench).wake(bench.clock.realtime_ns() // 1_000_000 + 60_000)
    upkeep = Upkeep(bench.host)
    await upkeep.remove(key(bench))
    assert list(upkeep.file_of(key(bench)).parent.iterdir()) == []
    assert bench.host.parts.alarms.due_ms(key(bench).address) is None
    assert await bench.host.parts.catalog.alarms() == []
    with pytest.raises(CallerError, match="has stored nothing"):
        await upkeep.remove(key(bench))
    assert await ledger(bench).add() == 1


async def test_a_removal_that_was_cut_off_is_repeated(bench: Bench) -> None:
    await bench.run(CODE)
    await ledger(bench).add()
    path = Upkeep(bench.host).file_of(key(bench))
    await bench.host.drain(grace_s=1)
    path.rename(path.with_suffix(".removed"))
    await bench.restart(CODE)
    with pytest.raises(DohostError, match="is missing, but its log"):
        await ledger(bench).count()
    await Upkeep(bench.host).remove(key(bench))
    assert await ledger(bench).count() is None


async def test_calls_hear_that_files_are_being_worked_on(bench: Bench) -> None:
    await bench.run(CODE)
    await ledger(bench).add()
    found = bench.host.classes["app-Ledger"]
    async with found.closed(key(bench).object_id):
        with pytest.raises(JsException, match="being worked on") as refused:
            await ledger(bench).count()
        assert refused.value.overloaded
        with pytest.raises(Overloaded):
            await Upkeep(bench.host).remove(key(bench))
        assert await ledger(bench, "b").add() == 1
    assert await ledger(bench).count() == 1


async def test_a_deleted_catalog_is_made_anew_from_the_files(bench: Bench) -> None:
    await bench.run(CODE)
    due_ms = bench.clock.realtime_ns() // 1_000_000 + 60_000
    for name in ("a", "b", "c"):
        await ledger(bench, name).add()
    await ledger(bench).wake(due_ms)
    damaged = Upkeep(bench.host).file_of(key(bench, "c"))
    await bench.host.drain(grace_s=1)
    for each in (bench.root / "data").glob("catalog.sqlite*"):
        each.unlink()
    damaged.write_bytes(b"")
    await bench.restart(CODE)
    assert [event.name for event in bench.events] == ["catalog.rebuilt"]
    assert bench.host.parts.alarms.due_ms(key(bench).address) == due_ms
    rebuilt = await Upkeep(bench.host).rebuild_catalog()
    assert (rebuilt.objects, rebuilt.alarms) == (2, 1)
    assert [str(damaged) in reason for reason in rebuilt.forgotten] == [True]
    known = await bench.host.parts.catalog.objects("app-Ledger")
    assert [each.name for each in known] == ["a", "b"]
    assert bench.host.parts.alarms.due_ms(key(bench).address) == due_ms


async def test_a_catalog_made_anew_knows_what_was_stored_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(CODE)
    await ledger(bench).add()
    has_read, goes_on = threading.Event(), threading.Event()

    def slow(*arguments: object, **named: object) -> object:
        found = read_all(*arguments, **named)
        has_read.set()
        assert goes_on.wait(10)
        return found

    monkeypatch.setattr(upkeep, "read_all", slow)
    rebuild = asyncio.create_task(Upkeep(bench.host).rebuild_catalog())
    await asyncio.to_thread(has_read.wait, 10)
    due_ms = bench.clock.realtime_ns() // 1_000_000 + 60_000
    await ledger(bench, "new").wake(due_ms)
    await ledger(bench).wake(due_ms + 1)
    await Upkeep(bench.host).remove(key(bench))
    goes_on.set()
    await rebuild
    catalog = bench.host.parts.catalog
    assert [each.name for each in await catalog.all_objects()] == ["new"]
    assert [(each.name, at_ms) for each, at_ms in await catalog.alarms()] == [("new", due_ms)]
