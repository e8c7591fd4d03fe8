"""Group commit: what is written together is durable together, and nothing is durable early."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, Future

import pytest

from dohost.clock import ManualClock
from dohost.errors import JsException, StorageFailure
from dohost.storage.commit import CommitLine, Committer


class HeldExecutor(Executor):
    """Runs submitted work when the test says so, and no sooner."""

    def __init__(self) -> None:
        self.work: list[Callable[[], object]] = []

    def submit(self, fn, /, *args, **kwargs):
        self.work.append(lambda: fn(*args, **kwargs))
        return Future()

    def run(self) -> None:
        work, self.work = self.work, []
        for call in work:
            call()


class File:
    """A participant that counts, and fails when told to."""

    def __init__(self, log: list[str], name: str = "a", *, heavy: bool = False) -> None:
        self.log, self.name, self.is_sync_heavy = log, name, heavy
        self.is_held = False
        self.commit_error: Exception | None = None
        self.sync_error: OSError | None = None
        self.requirement: asyncio.Future[None] | None = None
        self.later_requirement: asyncio.Future[None] | None = None
        self.failures: list[BaseException] = []

    def commit(self) -> asyncio.Future[None] | None:
        if self.commit_error:
            raise self.commit_error
        self.log.append(f"commit {self.name}")
        return self.requirement

    def sync(self) -> None:
        if self.sync_error:
            raise self.sync_error
        self.log.append(f"sync {self.name}")

    def after_sync(self) -> asyncio.Future[None] | None:
        self.log.append(f"durable {self.name}")
        return self.later_requirement

    def commit_failed(self, error: BaseException) -> None:
        self.failures.append(error)


async def ticks(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def executor() -> HeldExecutor:
    return HeldExecutor()


@pytest.fixture
async def committer(executor: HeldExecutor) -> Committer:
    return Committer(asyncio.get_running_loop(), executor, ManualClock())


async def test_writes_of_one_iteration_share_one_commit_and_one_sync(committer: Committer) -> None:
    log: list[str] = []
    line = CommitLine(committer, File(log))
    batch = line.wrote()
    assert line.wrote() is batch
    assert log == []
    await ticks()
    assert log == ["commit a", "sync a", "durable a"]
    assert batch.is_done
    assert line.is_clean


async def test_outputs_are_released_after_the_sync_and_in_order(committer: Committer) -> None:
    log: list[str] = []
    line = CommitLine(committer, File(log))
    batch = line.wrote()
    batch.add_callback(lambda error: log.append("first"))
    batch.add_callback(lambda error: log.append("second"))
    await ticks()
    assert log == ["commit a", "sync a", "durable a", "first", "second"]


async def test_several_files_are_synced_in_threads(
    committer: Committer, executor: HeldExecutor
) -> None:
    log: list[str] = []
    lines = [CommitLine(committer, File(log, name)) for name in "abc"]
    batches = [line.wrote() for line in lines]
    await ticks()
    assert log == ["commit a", "commit b", "commit c"]
    assert not any(batch.is_done for batch in batches)
    executor.run()
    await ticks()
    assert all(batch.is_done for batch in batches)


async def test_a_new_file_is_never_synced_on_the_loop(
    committer: Committer, executor: HeldExecutor
) -> None:
    log: list[str] = []
    CommitLine(committer, File(log, heavy=True)).wrote()
    await ticks()
    assert log == ["commit a"]
    executor.run()
    assert log == ["commit a", "sync a"]


async def test_commits_during_a_sync_share_the_next_one(
    committer: Committer, executor: HeldExecutor
) -> None:
    log: list[str] = []
    file = File(log, heavy=True)
    line = CommitLine(committer, file)
    first = line.wrote()
    await ticks()
    second = line.wrote()
    await ticks()
    assert line.wrote() is second
    await ticks()
    assert log == ["commit a", "commit a", "commit a"]
    executor.run()
    await ticks()
    assert first.is_done
    assert not second.is_done
    executor.run()
    await ticks()
    assert second.is_done
    assert log.count("sync a") == 2


async def test_a_batch_waits_for_what_else_must_be_durable(committer: Committer) -> None:
    log: list[str] = []
    file = File(log)
    file.requirement = asyncio.get_running_loop().create_future()
    batch = CommitLine(committer, file).wrote()
    await ticks()
    assert "sync a" in log
    assert not batch.is_done
    file.requirement.set_result(None)
    await ticks()
    assert batch.is_done
    assert batch.error is None


async def test_a_requirement_that_fails_fails_the_batch(committer: Committer) -> None:
    file = File([])
    file.requirement = asyncio.get_running_loop().create_future()
    batch = CommitLine(committer, file).wrote()
    await ticks()
    file.requirement.set_exception(OSError("catalog"))
    await ticks()
    assert isinstance(batch.error, OSError)
    assert file.failures == [batch.error]


async def test_a_batch_waits_for_what_must_be_durable_after_its_sync(committer: Committer) -> None:
    file = File([])
    file.later_requirement = asyncio.get_running_loop().create_future()
    batch = CommitLine(committer, file).wrote()
    await ticks()
    assert not batch.is_done
    file.later_requirement.set_result(None)
    await ticks()
    assert batch.is_done


async def test_a_batch_is_not_done_before_the_one_before_it(committer: Committer) -> None:
    file = File([])
    first_needs = file.requirement = asyncio.get_running_loop().create_future()
    line = CommitLine(committer, file)
    first = line.wrote()
    await ticks()
    file.requirement = None
    second = line.wrote()
    await ticks()
    # An output names the second batch only, and may depend on the first.
    assert not second.is_done
    assert line.latest() is second
    assert not line.is_clean
    first_needs.set_result(None)
    await ticks()
    assert first.is_done
    assert second.is_done
    assert line.is_clean
    assert line.latest() is None


async def test_a_batch_fails_with_the_one_before_it(committer: Committer) -> None:
    file = File([])
    first_needs = file.requirement = asyncio.get_running_loop().create_future()
    line = CommitLine(committer, file)
    line.wrote()
    await ticks()
    file.requirement = None
    second = line.wrote()
    await ticks()
    first_needs.set_exception(OSError("catalog"))
    await ticks()
    assert isinstance(second.error, OSError)


async def test_a_commit_that_fails_after_one_of_its_batch_did_not_is_of_unknown_outcome(
    committer: Committer, executor: HeldExecutor
) -> None:
    file = File([], heavy=True)
    line = CommitLine(committer, file)
    line.wrote()
    await ticks()
    batch = line.wrote()
    await ticks()
    assert line.is_in_log
    assert line.wrote() is batch
    file.commit_error = JsException("full")
    await ticks()
    assert isinstance(batch.error, StorageFailure)
    assert (batch.error.outcome, str(batch.error)) == ("unknown", "full")
    executor.run()
    await ticks()


async def test_a_commit_that_fails_is_not_synced(committer: Committer) -> None:
    log: list[str] = []
    file = File(log)
    file.commit_error = StorageFailure("full", outcome="not-applied")
    batch = CommitLine(committer, file).wrote()
    await ticks()
    assert batch.error is file.commit_error
    assert file.failures == [file.commit_error]
    assert log == []


async def test_a_failed_sync_leaves_the_outcome_unknown(committer: Committer) -> None:
    file = File([])
    file.sync_error = OSError(5, "Input/output error")
    batch = CommitLine(committer, file).wrote()
    await ticks()
    assert isinstance(batch.error, StorageFailure)
    assert batch.error.outcome == "unknown"
    assert file.failures == [batch.error]


async def test_each_sync_is_timed_on_the_loop_and_in_threads(
    committer: Committer, executor: HeldExecutor
) -> None:
    class Slow(File):
        def sync(self) -> None:
            committer._clock.advance(float(self.name))
            super().sync()

    for names in (["0.25"], ["1"] * 33):
        for name in names:
            CommitLine(committer, Slow([], name)).wrote()
        await ticks()
        executor.run()
        await ticks()
    assert (committer.sync_times.total, committer.sync_times.sum_s) == (34, 33.25)


async def test_discarded_writes_fail_and_are_not_committed(committer: Committer) -> None:
    log: list[str] = []
    line = CommitLine(committer, File(log))
    batch = line.wrote()
    error = RuntimeError("reset")
    line.discard_open(error)
    await ticks()
    assert batch.error is error
    assert log == []


async def test_flushing_runs_in_a_context_of_its_own(committer: Committer) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="neutral")
    seen: list[str] = []
    file = File([])
    file.after_sync = lambda: seen.append(variable.get())  # type: ignore[method-assign]
    variable.set("the caller's")
    CommitLine(committer, file).wrote()
    await ticks()
    assert seen == ["neutral"]


async def test_an_explicit_transaction_is_not_committed_before_its_end(
    committer: Committer,
) -> None:
    log: list[str] = []
    file = File(log)
    line = CommitLine(committer, file)
    file.is_held = True
    batch = line.wrote()
    await ticks()
    assert log == []
    assert not batch.is_done
    file.is_held = False
    line.flush_soon()
    await ticks()
    assert batch.is_done


async def test_nobody_waits_longer_than_30_s_for_a_disk_and_the_sync_goes_on(
    committer: Committer, executor: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dohost.storage.commit.DURABLE_AFTER_MAX_S", 0.0)
    log: list[str] = []
    file = File(log, heavy=True)
    line = CommitLine(committer, file)
    batch, early, late = line.wrote(), [], []
    batch.add_callback(early.append)
    await ticks(5)
    (error,) = early
    assert error.message == (
        "Durable Object storage operation exceeded timeout which caused object to be reset."
    )
    assert error.overloaded
    assert file.failures == [error]
    assert not batch.is_done
    batch.add_callback(late.append)
    executor.run()
    await ticks()
    assert log == ["commit a", "sync a", "durable a"]
    assert (early, late) == ([error], [None])


async def test_a_disk_that_answers_in_time_is_not_given_up(
    committer: Committer, executor: HeldExecutor
) -> None:
    file = File([], heavy=True)
    lines = [CommitLine(committer, file) for _ in range(3)]
    for line in lines:
        line.wrote()
        await ticks()
        executor.run()
        await ticks()
    assert file.failures == []
    assert len(committer._unfinished) == 1


async def test_what_was_committed_before_an_explicit_transaction_is_synced_inside_it(
    committer: Committer,
) -> None:
    log: list[str] = []
    file = File(log)
    line = CommitLine(committer, file)
    line.wrote()
    assert line.take()
    batch = line.wrote()
    assert not line.take()  # committed, but an earlier sync is still running
    file.is_held = True
    line.synced(None)
    await ticks()
    assert batch.is_done


async def test_what_fails_behind_one_commit_keeps_nobody_else_waiting(
    committer: Committer, executor: HeldExecutor
) -> None:
    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    mistake, log = RuntimeError("a mistake of ours"), list[str]()

    def fail(error: BaseException | None) -> None:
        raise mistake

    first, second = (CommitLine(committer, File(log, name)) for name in "ab")
    for line in (first, second):
        batch = line.wrote()
        batch.add_callback(fail)
        batch.add_callback(lambda error, line=line: log.append("heard"))
    await ticks()
    executor.run()
    await ticks()
    assert log.count("heard") == 2
    assert first.is_clean
    assert second.is_clean
    alone = first.wrote()
    alone.add_callback(fail)
    await ticks()
    executor.run()
    await ticks()
    assert alone.is_done
    assert reported == [mistake] * 3
