"""A log that can't be copied is tried again, and not at every commit."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, Future

import pytest

from dohost.errors import StorageFailure
from dohost.runtime import checkpoints
from dohost.runtime.checkpoints import AT_A_TIME_MAX, RETRY_AFTER_S, Checkpointer
from dohost.telemetry import Event, Log


class Loop:
    """A loop reduced to its clock, whose threads are done at once."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def time(self) -> float:
        return self.now_s

    def run_in_executor(self, executor: object, work, database) -> Future[None]:
        future: Future[None] = Future()
        try:
            future.set_result(work(database))
        except StorageFailure as error:
            future.set_exception(error)
        return future


class Owner:
    """An instance whose log is long; `fails` says in which part copying fails."""

    wal_pages = checkpoints.WAL_PAGES_MAX
    is_evicted = False
    broken = None

    def __init__(self, fails: str) -> None:
        self.fails = fails
        self.tries = 0
        self.database = self

    def hold(self):
        return lambda: None

    def checkpoint_passive(self) -> None:
        self.tries += 1
        if self.fails == "passive":
            raise StorageFailure("no room", outcome="not-applied")

    def checkpoint_finish(self) -> None:
        if self.fails == "finish":
            raise StorageFailure("no room", outcome="not-applied")


@pytest.mark.parametrize("fails", ["passive", "finish"])
async def test_a_file_that_could_not_be_copied_is_left_alone_for_a_second(fails: str) -> None:
    loop, events = Loop(), list[Event]()
    checkpointer = Checkpointer(loop, Executor(), Log(events.append))  # type: ignore[arg-type]
    broken, whole = Owner(fails), Owner("")
    for _ in range(50):
        checkpointer.after_commit(broken)
        checkpointer.after_commit(whole)
    assert len(events) == 1
    assert whole.tries == 100
    tries = broken.tries
    loop.now_s += RETRY_AFTER_S
    broken.fails = ""
    checkpointer.after_commit(broken)
    checkpointer.after_commit(broken)
    assert broken.tries == tries + 4
    assert len(events) == 1
    assert (checkpointer.checkpoints, checkpointer.failures) == (52, 1)


class SlowLoop(Loop):
    """Threads that are done when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.copying: list[tuple[Future[None], Owner]] = []

    def run_in_executor(self, executor: object, work, database) -> Future[None]:
        future: Future[None] = Future()
        self.copying.append((future, database))
        return future

    def create_future(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def finish_one(self) -> Owner:
        future, owner = self.copying.pop(0)
        owner.wal_pages = 0
        future.set_result(None)
        return owner


async def test_a_few_logs_are_copied_at_a_time_and_the_others_in_their_order() -> None:
    loop = SlowLoop()
    checkpointer = Checkpointer(loop, Executor(), Log(lambda _: None))  # type: ignore[arg-type]
    owners = [Owner("") for _ in range(AT_A_TIME_MAX + 4)]
    for owner in (*owners, *owners):
        checkpointer.after_commit(owner)
    assert [each for _, each in loop.copying] == owners[:AT_A_TIME_MAX]
    # One is gone before its turn, and one's log is short again.
    gone, short = owners[AT_A_TIME_MAX], owners[AT_A_TIME_MAX + 1]
    gone.is_evicted, short.wal_pages = True, 0
    done = []
    while loop.copying:
        done.append(loop.finish_one())
        assert len(loop.copying) <= AT_A_TIME_MAX
    assert done == [each for each in owners if each not in (gone, short)]
    assert not checkpointer.is_running


async def test_while_files_must_rest_nobody_who_waits_is_started() -> None:
    loop = SlowLoop()
    checkpointer = Checkpointer(loop, Executor(), Log(lambda _: None))  # type: ignore[arg-type]
    owners = [Owner("") for _ in range(AT_A_TIME_MAX + 1)]
    for owner in owners:
        checkpointer.after_commit(owner)
    resting = asyncio.ensure_future(checkpointer.rest())
    await asyncio.sleep(0)
    while loop.copying:
        loop.finish_one()
        await asyncio.sleep(0)
    await resting
    assert not loop.copying
    checkpointer.go_on()
    checkpointer.after_commit(owners[-1])
    assert [each for _, each in loop.copying] == owners[-1:]
