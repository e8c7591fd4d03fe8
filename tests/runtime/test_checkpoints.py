"""A log that can't be copied is tried again, and not at every commit."""

from __future__ import annotations

from concurrent.futures import Executor, Future

import pytest

from dohost.errors import StorageFailure
from dohost.runtime import checkpoints
from dohost.runtime.checkpoints import RETRY_AFTER_S, Checkpointer
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
