"""Group commit: when an object's open transaction is committed, and when it is durable.

A write schedules one *flush* for the next event-loop iteration. The flush COMMITs every object that
was written (WAL, no fsync: microseconds), then makes them durable: one small file on a fast disk is
synced inline, everything else in threads, where commits that arrive meanwhile share the next sync.
So a busy object pays one fsync for many requests, and nothing leaves before its fsync.

A `CommitLine` belongs to one object. Its writes go open → committed → syncing → durable; while one
sync runs, later commits collect for the next. A batch is done when its own sync is, what else it
requires (the catalog), *and* every batch before it: an output names the last batch only. An I/O error ends
the line: after a failed sync nobody knows what is on the disk, so nothing is retried, the batch fails,
and the owner drops the instance. So it does if the disk has not answered after 30 s, though the sync goes on.

This file knows nothing of gates' users or SQL; the database and the catalog come in as `Participant`.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from concurrent.futures import Executor
from typing import Protocol

from dohost.clock import Clock
from dohost.errors import JsException, StorageFailure
from dohost.gates import Batch
from dohost.histogram import Histogram

SYNC_INLINE_MAX_S = 0.0005
SYNC_THREADS_MAX = 32
DURABLE_AFTER_MAX_S = 30.0
TOO_LONG = "Durable Object storage operation exceeded timeout which caused object to be reset."


class Participant(Protocol):
    """An object's file, as the commit sees it."""

    def commit(self) -> asyncio.Future[None] | None:
        """COMMIT the open transaction, or raise; return what else must be durable (catalog), if any."""
        ...

    def sync(self) -> None:
        """Block until everything committed so far survives a power cut; may run in a thread."""
        ...

    @property
    def is_sync_heavy(self) -> bool:
        """Whether the next sync does more than one fdatasync (a file was created)."""
        ...

    @property
    def is_held(self) -> bool:
        """Whether an explicit transaction is open, which commits when its own code says so."""
        ...

    def after_sync(self) -> asyncio.Future[None] | None:
        """Run what follows a sync, on the loop; return what must be durable after the file, if anything."""
        ...

    def commit_failed(self, error: BaseException) -> None:
        """The open transaction is lost or of unknown fate; on the loop."""
        ...


class _Commit(Batch):
    """A batch with the things that must be durable before it is: its own sync, and requirements."""

    __slots__ = ("due_s", "failure", "is_committed", "is_in_log", "parts")

    def __init__(self) -> None:
        super().__init__()
        self.parts = 1
        self.due_s = 0.0
        self.failure: BaseException | None = None
        # All that was written so far is committed.
        self.is_committed = False
        # Some of it is in the log already, though its sync has not begun.
        self.is_in_log = False


class CommitLine:
    """The commits of one object, in order."""

    __slots__ = (
        "_committer",
        "_is_scheduled",
        "_last",
        "_open",
        "_participant",
        "_syncing",
        "commits",
    )

    def __init__(self, committer: Committer, participant: Participant) -> None:
        self._committer = committer
        self._participant = participant
        self._open: _Commit | None = None
        self._syncing: _Commit | None = None
        # The newest batch that left `_open`; it may still wait for what it requires.
        self._last: Batch | None = None
        self._is_scheduled = False
        # How many have succeeded, durable or not.
        self.commits = 0

    @property
    def is_clean(self) -> bool:
        """Whether everything written is durable."""
        return self._open is None and (self._last is None or self._last.is_done)

    @property
    def is_in_log(self) -> bool:
        """Whether something is committed that is not durable yet."""
        is_waiting = self._last is not None and not self._last.is_done
        return is_waiting or (self._open is not None and self._open.is_in_log)

    @property
    def is_sync_heavy(self) -> bool:
        """Whether the next sync does more than one fdatasync."""
        return self._participant.is_sync_heavy

    def follow(self, earlier: Batch) -> None:
        """Let every batch of this line be done after `earlier`, the last one of another instance."""
        assert self._last is None, "nothing has been committed here yet"
        self._last = earlier
        if earlier.is_given_up and isinstance(earlier, _Commit):
            # The disk still does not answer, and nobody is to wait for it for ever here either.
            self._committer.watch_over([(self, earlier)])

    def wrote(self) -> Batch:
        """Return the batch that the write which just happened belongs to."""
        batch = self._open
        if batch is None:
            batch = self._open = _Commit()
        batch.is_committed = False
        self.flush_soon()
        return batch

    def flush_soon(self) -> None:
        """Commit in the next iteration what is open then."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._committer.schedule(self)

    def latest(self) -> Batch | None:
        """Return the newest batch that is not durable yet."""
        if self._open is not None:
            return self._open
        last = self._last
        return None if last is None or last.is_done else last

    def discard_open(self, error: BaseException) -> None:
        """Fail the writes that are not committed: their transaction was rolled back."""
        batch, self._open = self._open, None
        if batch is not None:
            batch.finish(error)

    def take(self) -> bool:
        """COMMIT what is open; return whether a sync is to be started for it now."""
        self._is_scheduled = False
        batch = self._open
        if batch is None:
            return False
        # What an open explicit transaction holds back is not committed; what waited for an earlier
        # sync is, and code inside that transaction may wait for it.
        if not batch.is_committed and (self._participant.is_held or not self._commit(batch)):
            return False
        if self._syncing is not None:
            # The running sync may or may not cover this commit; the next one will.
            return False
        self._open = None
        self._follow(batch)
        self._syncing = batch
        return True

    def _commit(self, batch: _Commit) -> bool:
        """COMMIT what is in `batch`; return whether that worked."""
        try:
            requirement = self._participant.commit()
        except Exception as error:  # noqa: BLE001 - whatever fails a commit is the batch's outcome
            self._fail(error)
            return False
        if requirement is not None:
            self._hold(batch, requirement)
        self.commits += 1
        self._committer.commits += 1
        batch.is_committed = batch.is_in_log = True
        return True

    def syncing(self) -> _Commit:
        """Return the batch whose sync was started by `take`."""
        assert self._syncing is not None, "asked after take() only"
        return self._syncing

    def give_up(self, batch: _Commit) -> None:
        """Reset the object whose disk does not answer; the sync itself goes on."""
        error = JsException(TOO_LONG)
        error.overloaded = True
        batch.give_up(error)
        self._participant.commit_failed(error)

    def sync(self) -> BaseException | None:
        """Block until durable; return the failure instead of raising it, for use in threads."""
        try:
            self._participant.sync()
        except OSError as error:
            failure = StorageFailure(
                f"the object's file could not be synced to disk ({error}); "
                "whether its last writes survive a restart is unknown",
                outcome="unknown",
            )
            failure.__cause__ = error
            return failure
        return None

    def synced(self, error: BaseException | None) -> None:
        """Take the outcome of the running sync, on the loop, and start the next if one is due."""
        batch, self._syncing = self._syncing, None
        assert batch is not None, "a sync that ended was started by take()"
        if error is not None:
            batch.failure = error
        else:
            requirement = self._participant.after_sync()
            if requirement is not None:
                self._hold(batch, requirement)
        if self._open is not None:
            self.flush_soon()
        self._part_done(batch)

    def _follow(self, batch: _Commit) -> None:
        """Let `batch` be done after the one before it, and fail with it."""
        previous, self._last = self._last, batch
        if previous is not None and not previous.is_done:
            batch.parts += 1
            # Who gives up on the one before gives up on this one as well, in its own time.
            previous.when_done(lambda error: self._part_done(batch, error))

    def _hold(self, batch: _Commit, requirement: asyncio.Future[None]) -> None:
        batch.parts += 1

        def done(future: asyncio.Future[None]) -> None:
            self._part_done(batch, None if future.cancelled() else future.exception())

        requirement.add_done_callback(done)

    def _part_done(self, batch: _Commit, error: BaseException | None = None) -> None:
        if error is not None and batch.failure is None:
            batch.failure = error
        batch.parts -= 1
        if batch.parts:
            return
        if batch.failure is not None:
            self._participant.commit_failed(batch.failure)
        batch.finish(batch.failure)

    def _fail(self, error: BaseException) -> None:
        batch, self._open = self._open, None
        if batch is not None and batch.is_in_log:
            # An earlier commit of the batch did succeed, so its writes can't be called undone.
            message = error.message if isinstance(error, JsException) else str(error)
            failure = StorageFailure(message, outcome="unknown")
            failure.__cause__, error = error, failure
        self._participant.commit_failed(error)
        if batch is not None:
            batch.finish(error)


class Committer:
    """Flushes the lines that were written and syncs them, inline or in threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, executor: Executor, clock: Clock) -> None:
        self._loop = loop
        self._executor = executor
        self._clock = clock
        # One neutral context for callbacks: a turn's own context may be entered by them again.
        self._context = contextvars.Context()
        self._dirty: list[CommitLine] = []
        self._sync_s = 0.0
        self._jobs = 0
        self._unfinished: deque[tuple[CommitLine, _Commit]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        # Commits of all lines that have succeeded, syncs that were begun and that failed.
        self.commits = 0
        self.syncs = 0
        self.syncs_failed = 0
        self.sync_times = Histogram()

    @property
    def is_syncing(self) -> bool:
        """Whether a thread is making something durable."""
        return self._jobs > 0

    def schedule(self, line: CommitLine) -> None:
        """Flush `line` in the next iteration of the loop; the caller sees to it that it is once."""
        self._dirty.append(line)
        if len(self._dirty) == 1:
            self._loop.call_soon(self._flush, context=self._context)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        lines = [line for line in dirty if line.take()]
        if not lines:
            return
        self.syncs += len(lines)
        if len(lines) == 1 and self._sync_s < SYNC_INLINE_MAX_S and not lines[0].is_sync_heavy:
            started = self._clock.monotonic()
            error = lines[0].sync()
            elapsed = self._clock.monotonic() - started
            self._measure(elapsed)
            self.sync_times.observe(elapsed)
            batch = lines[0].syncing()
            self._tell(lines[0], error)
            if not batch.is_done:
                # The file is durable, and the catalog is not yet.
                self.watch_over([(lines[0], batch)])
            return
        self.watch_over([(line, line.syncing()) for line in lines])
        width = min(len(lines), SYNC_THREADS_MAX)
        self._jobs += width
        for first in range(width):
            self._executor.submit(self._sync_in_thread, lines[first::width])

    def watch_over(self, started: list[tuple[CommitLine, _Commit]]) -> None:
        """See to it that nobody waits for ever for a disk that does not answer."""
        unfinished = self._unfinished
        while unfinished and unfinished[0][1].is_done:
            unfinished.popleft()
        due_s = self._loop.time() + DURABLE_AFTER_MAX_S
        for _, batch in started:
            batch.due_s = due_s
        unfinished += started
        if self._watch is None:
            self._watch = self._loop.call_at(due_s, self._give_up_overdue, context=self._context)

    def _give_up_overdue(self) -> None:
        self._watch = None
        unfinished = self._unfinished
        now_s = self._loop.time()
        while unfinished and (unfinished[0][1].is_done or unfinished[0][1].due_s <= now_s):
            line, batch = unfinished.popleft()
            if not batch.is_done:
                line.give_up(batch)
        if unfinished:
            due_s = unfinished[0][1].due_s
            self._watch = self._loop.call_at(due_s, self._give_up_overdue, context=self._context)

    def _measure(self, seconds: float) -> None:
        # A slow disk must not stall the loop, nor one slow sync send every later one to a thread.
        self._sync_s += (seconds - self._sync_s) * 0.125

    def _sync_in_thread(self, lines: list[CommitLine]) -> None:
        monotonic = self._clock.monotonic
        outcomes = []
        began_s = monotonic()
        for line in lines:
            error = line.sync()
            ended_s = monotonic()
            outcomes.append((line, error, ended_s - began_s))
            began_s = ended_s
        self._loop.call_soon_threadsafe(self._synced, outcomes)

    def _synced(self, outcomes: list[tuple[CommitLine, BaseException | None, float]]) -> None:
        self._jobs -= 1
        self._measure(sum(elapsed for _, _, elapsed in outcomes) / len(outcomes))
        for line, error, elapsed in outcomes:
            self.sync_times.observe(elapsed)
            self._tell(line, error)

    def _tell(self, line: CommitLine, error: BaseException | None) -> None:
        """Tell a line of its sync; what goes wrong behind it is no business of the other lines."""
        self.syncs_failed += error is not None
        try:
            line.synced(error)
        except Exception as failure:  # noqa: BLE001 - reported; nobody waits for the committer
            self._loop.call_exception_handler(
                {"message": "what waited for a commit failed", "exception": failure}
            )
