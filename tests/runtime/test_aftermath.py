"""What the next instance does first when the one before it ended with unsynced or failed writes."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from programs import VERSION

from dohost.errors import DohostError, JsException, StorageFailure
from dohost.runtime.aftermath import Aftermath, Aftermaths
from dohost.runtime.lock import DataDirLock, LockInfo

PAIR = """
class Counter(DurableObject):
    async def increment(self):
        value = (await self.ctx.storage.get("n") or 0) + 1
        await self.ctx.storage.put("n", value)
        return value

    async def read(self):
        return await self.ctx.storage.get("n") or 0

    async def wake(self, due_ms):
        await self.ctx.storage.setAlarm(due_ms)

    async def alarm(self):
        await self.ctx.storage.put("fired", True)

    async def fired(self):
        return await self.ctx.storage.get("fired")
"""


def fail_syncs_of(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    def refuse(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(suffix):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("dohost.storage.files.os.fdatasync", refuse)
    monkeypatch.setattr("dohost.storage.files.os.fsync", refuse)


def rewrites(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bytes]]:
    """Return the list to which every write of a log by us will be added."""
    written: list[tuple[int, bytes]] = []
    real = os.pwrite

    def pwrite(descriptor: int, content: bytes, offset: int) -> int:
        written.append((offset, content))
        return real(descriptor, content, offset)

    monkeypatch.setattr("dohost.storage.files.os.pwrite", pwrite)
    return written


def wal_of(bench) -> Path:
    actor = bench.actor()
    return Path(f"{actor.database.path}-wal")


async def test_after_a_failed_sync_the_log_is_written_again_before_it_is_trusted(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(PAIR)
    assert await bench.stub().increment() == 1
    wal = wal_of(bench)
    fail_syncs_of(monkeypatch, "-wal")
    with pytest.raises(DohostError) as caught:
        await bench.stub().increment()
    assert caught.value.code == "outcome-unknown"
    monkeypatch.undo()
    written = rewrites(monkeypatch)
    log = wal.read_bytes()
    # The second increment was committed; whether it was kept was for the disk to say.
    assert await bench.stub().read() == 2
    assert written == [(0, log)]
    assert await bench.stub().increment() == 3
    assert len(written) == 1


async def test_a_new_file_whose_first_sync_failed_is_set_aside(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(PAIR)
    fail_syncs_of(monkeypatch, ".sqlite")
    with pytest.raises(DohostError):
        await bench.stub().increment()
    monkeypatch.undo()
    assert await bench.stub().read() == 0
    assert await bench.stub().increment() == 1
    path = bench.actor().database.path
    assert path.with_name(f"{path.name}.unfinished").exists()
    assert bench.host.parts.catalog.knows(bench.actor().key)


async def test_an_object_whose_log_can_not_be_rewritten_answers_and_recovers(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(PAIR)
    await bench.stub().increment()
    fail_syncs_of(monkeypatch, "-wal")
    with pytest.raises(DohostError):
        await bench.stub().increment()

    for _ in range(2):
        with pytest.raises(JsException) as told:
            await bench.stub().read()
        assert told.value.code == "storage-failed"
    monkeypatch.undo()
    assert await bench.stub().read() == 2


async def test_the_next_process_writes_a_log_again_that_this_one_could_not(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(PAIR)
    await bench.stub().increment()
    path = bench.actor().database.path
    fail_syncs_of(monkeypatch, "-wal")
    with pytest.raises(DohostError):
        await bench.stub().increment()
    # The last act of the process tries again and fails again.
    await bench.host.drain(grace_s=0)
    monkeypatch.undo()
    note = path.with_suffix(".sync-failed")
    assert note.read_text() == "log"
    await bench.restart(PAIR)
    written = rewrites(monkeypatch)
    log = path.with_name(f"{path.name}-wal").read_bytes()
    assert await bench.stub().read() == 2
    assert written == [(0, log)]
    assert not note.exists()


async def test_the_next_process_sets_a_file_aside_whose_first_sync_failed(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(PAIR)
    fail_syncs_of(monkeypatch, ".sqlite")
    with pytest.raises(DohostError):
        await bench.stub().increment()
    monkeypatch.undo()
    # As kill -9 leaves it: nobody has dealt with it, and the memory of it is gone.
    bench.host.classes["app-Counter"].aftermaths = Aftermaths()
    assert await bench.stub().read() == 0
    assert await bench.stub().increment() == 1
    path = bench.actor().database.path
    assert path.with_name(f"{path.name}.unfinished").exists()
    assert not path.with_suffix(".sync-failed").exists()


async def test_what_a_reset_instance_left_unsynced_is_synced_before_it_is_shown(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(PAIR)
    await bench.stub().increment()
    actor = bench.actor()
    actor.object_class.aftermaths.note(actor.key.object_id, Aftermath.unsynced)
    actor.evict_if_idle()
    syncs = bench.host.parts.committer.syncs
    assert await bench.stub().read() == 1
    assert bench.host.parts.committer.syncs == syncs + 1


async def test_a_new_instance_acknowledges_nothing_on_the_last_sync_of_the_one_before(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(PAIR)
    await bench.stub().increment()
    monkeypatch.setattr("dohost.storage.commit.SYNC_INLINE_MAX_S", 0.0)
    answered = threading.Event()
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        answered.wait(10)
        real(descriptor)

    monkeypatch.setattr("dohost.storage.files.os.fdatasync", slow)
    # One commit is being synced when a later one ends its instance.
    synced = asyncio.ensure_future(bench.stub().increment())
    while not bench.actor().line.is_in_log:
        await asyncio.sleep(0)
    ended = bench.actor()
    ended.reset(StorageFailure("no room", outcome="not-applied", is_full=True))
    failing = asyncio.ensure_future(bench.stub().increment())
    assert bench.actor() is not ended

    def refuse(self: object) -> None:
        raise StorageFailure("no room", outcome="not-applied", is_full=True)

    monkeypatch.setattr("dohost.storage.database.Database.commit", refuse)
    answered.set()
    assert await synced == 2
    with pytest.raises(DohostError, match="no room"):
        await failing
    monkeypatch.undo()
    assert await bench.stub().read() == 2


async def test_a_failed_catalog_is_an_outcome_that_is_unknown_and_is_made_up_for(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(PAIR)
    catalog = bench.host.parts.catalog

    async def refuse(changes: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(catalog, "_transact", refuse)
    with pytest.raises(DohostError) as caught:
        await bench.stub().increment()
    assert caught.value.code == "outcome-unknown"
    monkeypatch.undo()
    await bench.stub().increment()
    assert catalog.knows(bench.actor().key)


async def test_an_alarm_that_the_index_lacks_is_found_when_its_object_starts(bench) -> None:
    await bench.run(PAIR)
    due_ms = bench.clock.realtime_ns() // 1_000_000 + 1000
    await bench.stub().wake(due_ms)
    await bench.host.drain(grace_s=1)
    with sqlite3.connect(bench.root / "data" / "catalog.sqlite") as connection:
        connection.execute("DELETE FROM alarms")
    connection.close()
    await bench.restart(PAIR)
    alarms = bench.host.parts.alarms
    await bench.stub().read()
    key = bench.actor().key
    assert alarms.due_ms(key.address) == due_ms
    assert await bench.host.parts.catalog.alarms() == [(key, due_ms)]


async def test_an_alarm_whose_object_can_not_be_opened_is_tried_again(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(PAIR)
    await bench.stub().wake(bench.clock.realtime_ns() // 1_000_000 + 1000)
    bench.actor().evict_if_idle()

    def refuse(self: object) -> None:
        raise StorageFailure("the disk fails", outcome="not-applied")

    monkeypatch.setattr("dohost.storage.database.Database._open_existing", refuse)
    bench.clock.advance(1)
    bench.host.parts.alarms.poll()
    while not [event for event in bench.events if event.name == "alarm.retry"]:
        await asyncio.sleep(0)
    monkeypatch.undo()
    bench.clock.advance(10)
    bench.host.parts.alarms.poll()
    while not await bench.stub().fired():
        await asyncio.sleep(0)


async def test_after_a_crash_what_was_left_is_synced_before_anything_is_shown(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr("dohost.runtime.host.os.sync", lambda: synced.append("all"))
    await bench.run(VERSION.format(version=1))
    await bench.restart(VERSION.format(version=1))
    assert synced == []
    await bench.host.drain(grace_s=1)
    crashed = DataDirLock(bench.root / "data")
    assert crashed.acquire(LockInfo(pid=1))
    assert crashed._fd is not None
    os.close(crashed._fd)
    await bench.restart(VERSION.format(version=1))
    assert synced == ["all"]


def test_the_worst_aftermath_counts(tmp_path: Path) -> None:
    found, path = Aftermaths(), tmp_path / "a.sqlite"
    assert found.of("a", path) is None
    found.note("a", Aftermath.sync_failed)
    found.note("a", Aftermath.unsynced)
    assert found.of("a", path) is Aftermath.sync_failed
    found.dealt_with("a")
    assert found.of("a", path) is None


async def test_an_object_whose_files_are_removed_under_it_says_so_and_begins_anew(bench) -> None:
    await bench.run(PAIR)
    assert await bench.stub().increment() == 1
    path = bench.actor().database.path
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    with pytest.raises(DohostError, match="removed or replaced"):
        await bench.stub().increment()
    assert await bench.stub().increment() == 1
    await bench.restart(PAIR)
    assert await bench.stub().read() == 1
