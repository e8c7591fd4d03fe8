"""What instances in trouble leave to the next one and tell their callers, each as a schedule showed it."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dohost.errors import DohostError, JsException, StorageFailure
from dohost.gates import Batch
from dohost.objects.rpc import Reply
from dohost.runtime.calls import RpcSink
from dohost.storage import files
from dohost.storage.database import Database
from dohost.storage.files import FailedSync, failed_sync, rewrite_log

COUNTER = """
import asyncio

class Counter(DurableObject):
    async def increment(self):
        value = (await self.ctx.storage.get("n") or 0) + 1
        await self.ctx.storage.put("n", value)
        return value

    async def read(self):
        return await self.ctx.storage.get("n") or 0

    async def spoil(self):
        await self.increment()
        self.ctx.abort("on purpose")

    async def increment_and_wait(self):
        value = await self.increment()
        await self.ctx.storage.sync()
        await asyncio.sleep(3600)
        return value
"""

OPENS_IN_A_SECTION = """
class Counter(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        ctx.blockConcurrencyWhile(self._open)
        ctx.storage.put("n", 1)
        ctx.abort("on purpose")

    async def _open(self):
        pass

    async def read(self):
        return 1
"""


DOES_NOT_LET_GO = """
import asyncio, sys

SEEN = []

class Counter(DurableObject):
    async def hold_on(self, how):
        try:
            await asyncio.sleep(3600)
        finally:
            if how == "abort":
                self.ctx.abort("again")
            if how == "exit":
                sys.exit("again")
            self.task = asyncio.create_task(self.live_on())

    async def live_on(self):
        SEEN.append("a task of an ended instance")

    async def start_later(self):
        later = lambda: asyncio.create_task(self.live_on())
        asyncio.get_running_loop().call_later(0.01, later)

    async def wait(self):
        await asyncio.sleep(3600)

    async def stop(self):
        self.ctx.abort("first")

    async def seen(self):
        return list(SEEN)
"""


class SlowDisk:
    """Syncs in threads, each of which lasts until it is let go, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = Database.sync
        self._turns = [threading.Event() for _ in range(8)]
        self._count = 0
        monkeypatch.setattr("dohost.storage.commit.SYNC_INLINE_MAX_S", 0.0)
        monkeypatch.setattr(Database, "sync", lambda database: self._sync(database))

    def _sync(self, database: Database) -> None:
        number = self._count
        self._count += 1
        assert self._turns[number].wait(30)
        self._real(database)

    async def begun(self, count: int) -> None:
        while self._count < count:
            await asyncio.sleep(0.001)

    def let_go(self, number: int) -> None:
        self._turns[number].set()

    def let_all_go(self) -> None:
        for turn in self._turns:
            turn.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.let_all_go()


def full_syncs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list to which the main files are added that are synced."""
    synced: list[str] = []

    def record(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(files, "full_sync", record)
    return synced


async def test_a_new_file_that_no_sync_has_covered_goes_with_its_instance(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(COUNTER)
    synced = full_syncs(monkeypatch)
    with pytest.raises(JsException):
        await bench.stub().spoil()
    # Taken over, the file would never be synced, and be empty after a power cut.
    assert await bench.stub().increment() == 1
    assert synced == [bench.actor().database.path.name]
    assert bench.host.parts.catalog.knows(bench.actor().key)


async def test_a_new_file_stays_when_its_instance_is_reset_after_a_commit(
    bench, disk: SlowDisk
) -> None:
    await bench.run(COUNTER)
    call = asyncio.ensure_future(bench.stub().increment())
    await disk.begun(1)
    with pytest.raises(JsException):
        await bench.stub().spoil()
    disk.let_all_go()
    assert await call == 1
    assert await bench.stub().increment() == 2


async def test_writes_of_the_next_instance_wait_for_their_own_sync_too(
    bench, disk: SlowDisk
) -> None:
    await bench.run(COUNTER)
    first = asyncio.ensure_future(bench.stub().increment())
    await disk.begun(1)
    with pytest.raises(JsException):
        await bench.stub().spoil()
    second = asyncio.ensure_future(bench.stub().increment())
    await disk.begun(2)
    disk.let_go(0)
    assert await first == 1
    await asyncio.sleep(0.02)
    assert not second.done()
    disk.let_go(1)
    assert await second == 2


async def test_an_io_error_does_not_set_aside_what_a_running_sync_covers(
    bench, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(COUNTER)
    first = asyncio.ensure_future(bench.stub().increment())
    await disk.begun(1)

    def refuse(database: Database) -> None:
        raise StorageFailure("disk I/O error", outcome="unknown")

    with monkeypatch.context() as broken:
        broken.setattr(Database, "commit", refuse)
        with pytest.raises(DohostError):
            await bench.stub().increment()
    disk.let_all_go()
    assert await first == 1
    assert await bench.stub().read() == 1


async def test_a_call_whose_earlier_writes_are_stored_is_not_told_that_nothing_was_applied(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.run(COUNTER)
    longer = asyncio.ensure_future(bench.stub().increment_and_wait())
    while await bench.stub().read() != 1:
        await asyncio.sleep(0)

    def refuse(database: Database) -> None:
        raise StorageFailure("disk full", outcome="not-applied", is_full=True)

    with monkeypatch.context() as broken:
        broken.setattr(Database, "commit", refuse)
        with pytest.raises(DohostError) as shorter:
            await bench.stub().increment()
    assert shorter.value.code == "storage-full"
    with pytest.raises(DohostError) as told:
        await longer
    assert told.value.code == "outcome-unknown"
    assert await bench.stub().read() == 1


async def test_an_answer_behind_a_commit_that_is_not_its_only_one_is_of_unknown_outcome(
    bench,
) -> None:
    await bench.run(COUNTER)
    await bench.stub().increment()
    actor, reply = bench.actor(), Reply(loop=asyncio.get_running_loop())
    sink = RpcSink(actor, reply)
    actor.line.commits += 1
    batch = Batch()
    actor.output.lock(batch)
    sink.returned(1)
    batch.finish(StorageFailure("disk full", outcome="not-applied"))
    with pytest.raises(JsException) as told:
        await reply
    assert told.value.code == "outcome-unknown"


async def test_a_file_is_closed_when_its_last_sync_ends_and_not_when_its_callers_give_up(
    bench, disk: SlowDisk
) -> None:
    await bench.run(COUNTER)
    first = asyncio.ensure_future(bench.stub().increment())
    await disk.begun(1)
    database, batch = bench.actor().database, bench.actor().line.latest()
    with pytest.raises(JsException):
        await bench.stub().spoil()
    batch.give_up(JsException("too long"))
    with pytest.raises(JsException):
        await first
    # Closing waits for the sync, and would stop the whole loop.
    assert not database.is_closed
    second = asyncio.ensure_future(bench.stub().read())
    await asyncio.sleep(0.02)
    assert not second.done()
    disk.let_all_go()
    assert await second == 1
    assert database.is_closed


async def test_nobody_waits_for_ever_for_a_disk_that_an_earlier_instance_gave_up(
    bench, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dohost.storage.commit.DURABLE_AFTER_MAX_S", 0.01)
    await bench.run(COUNTER)
    for method in ("increment", "read", "read"):
        with pytest.raises(JsException, match="exceeded timeout"):
            await getattr(bench.stub(), method)()
    disk.let_all_go()
    while bench.host.is_working:
        await asyncio.sleep(0.001)
    # A busy machine may take longer than that for a sync that goes well.
    monkeypatch.setattr("dohost.storage.commit.DURABLE_AFTER_MAX_S", 30.0)
    assert await bench.stub().read() == 1


async def test_a_batch_behind_one_that_was_given_up_is_durable_after_it_all_the_same(
    bench, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dohost.storage.commit.DURABLE_AFTER_MAX_S", 0.05)
    await bench.run(COUNTER)
    first = asyncio.ensure_future(bench.stub().increment())
    await disk.begun(1)
    bench.actor().reset(JsException("on purpose"))
    second = asyncio.ensure_future(bench.stub().increment())
    await disk.begun(2)
    # The second one's sync ends well, and still all stands on a file that is not durable.
    disk.let_go(1)
    for call in (first, second):
        with pytest.raises(JsException, match="exceeded timeout"):
            await call
    with pytest.raises(JsException, match="exceeded timeout"):
        await bench.stub().read()
    disk.let_all_go()
    while bench.host.is_working:
        await asyncio.sleep(0.001)
    assert await bench.stub().read() == 2


async def test_a_section_that_ends_with_its_object_is_not_reported_as_forgotten(bench) -> None:
    await bench.run(OPENS_IN_A_SECTION)
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    with pytest.raises(JsException):
        await bench.stub().read()
    await asyncio.sleep(0)
    assert reported == []


@pytest.mark.parametrize("how", ["abort", "exit", "a task"])
async def test_a_reset_answers_everybody_whatever_dropped_code_does_at_its_end(bench, how) -> None:
    await bench.run(DOES_NOT_LET_GO)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    calls = [bench.stub().hold_on(how), bench.stub().wait()]
    actor = bench.actor()
    calls.append(bench.stub().stop())
    outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert [str(each) for each in outcomes] == ["Error: first"] * 3
    assert "closed" in repr(actor.database)
    assert not actor.turns
    assert await bench.stub().seen() == []


@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_timer_of_an_ended_instance_starts_nothing(bench, is_reset: bool) -> None:
    await bench.run(DOES_NOT_LET_GO)
    await bench.stub().start_later()
    if is_reset:
        with pytest.raises(JsException, match="first"):
            await bench.stub().stop()
    else:
        assert bench.actor().evict_if_idle()
    await asyncio.sleep(0.03)
    assert await bench.stub().seen() == []


def test_a_log_that_could_not_be_written_again_is_noted_for_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "object.sqlite"
    path.with_name("object.sqlite-wal").write_bytes(b"frames")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "_data_sync", refuse)
    with pytest.raises(StorageFailure):
        rewrite_log(path)
    assert failed_sync(path) is FailedSync.log


def test_a_batch_that_is_given_up_still_has_its_outcome() -> None:
    batch, impatient, patient = Batch(), list[object](), list[object]()
    batch.add_callback(impatient.append)
    batch.when_done(patient.append)
    batch.when_done(patient.append)
    gone = TimeoutError()
    batch.give_up(gone)
    assert (impatient, patient, batch.is_given_up) == ([gone], [], True)
    batch.finish(None)
    assert (impatient, patient) == ([gone], [None, None])
    batch.when_done(patient.append)
    assert patient == [None, None, None]
