"""Bugs to plant on purpose, each by its name: a checker that does not find them checks nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from dohost.errors import StorageFailure
from dohost.gates import Batch, InputGate, OutputGate
from dohost.runtime import checkpoints
from dohost.runtime.actor import Actor
from dohost.runtime.alarms import AlarmScheduler
from dohost.runtime.commits import Commits
from dohost.runtime.registry import ObjectClass
from dohost.storage import connecting, connection, database, failures, files
from dohost.storage.commit import CommitLine
from dohost.storage.directories import Directory
from dohost.storage.files import ObjectFiles
from dohost.storage.storage import DurableObjectStorage
from dohost.storage.transaction import Transactions
from dohost.telemetry import Log


def no_fsync() -> None:
    """Commits are never synced."""
    files._data_sync = lambda descriptor: None


def synchronous_off() -> None:
    """SQLite itself never syncs: not a log's header, not before it copies the log back."""

    def copy_in_thread(path: Path, limits: object, **facts: object) -> None:
        opened = connection.open_file(path)
        opened.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - runs the query
        opened.pragma("synchronous", "off")
        opened.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        opened.close()

    connecting.sync_where_needed = database.sync_where_needed = connection.sync_nothing
    database.copy_in_thread = copy_in_thread


def no_entry_sync() -> None:
    """Files are synced, and the directory that names them is not."""
    Directory.sync_until = lambda self, number: None  # type: ignore[method-assign]


def early_answer() -> None:
    """Answers leave before the sync."""
    OutputGate.barrier = lambda self: None  # type: ignore[method-assign]


def torn_pair() -> None:
    """Each write is a commit of its own."""
    before_write = Transactions.before_write

    def commits_first(self: Transactions, *, confirmed: bool = True) -> None:
        if not self._savepoints:
            self._database.commit()
        before_write(self, confirmed=confirmed)

    Transactions.before_write = commits_first  # type: ignore[method-assign]


def late_alarm_index() -> None:
    """The index of alarms is written, but nobody waits for it."""
    changed = AlarmScheduler.changed

    def does_not_wait(self, key, due_ms, batch):  # type: ignore[no-untyped-def] # as `changed`
        changed(self, key, due_ms, batch)

    AlarmScheduler.changed = does_not_wait  # type: ignore[method-assign]


def no_alarm_index() -> None:
    """Alarms are indexed in memory only."""
    changed = AlarmScheduler.changed

    def forgets(self, key, due_ms, batch):  # type: ignore[no-untyped-def] # as `changed`
        written, self._catalog = self._catalog, _NoCatalog()
        try:
            return changed(self, key, due_ms, batch)
        finally:
            self._catalog = written

    AlarmScheduler.changed = forgets  # type: ignore[method-assign]


class _NoCatalog:
    def set_alarm(self, key: object, due_ms: int) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    clear_alarm = set_alarm


DISK_BUGS: dict[str, Callable[[], None]] = {
    "no-fsync": no_fsync,
    "synchronous-off": synchronous_off,
    "no-entry-sync": no_entry_sync,
    "early-answer": early_answer,
    "torn-pair": torn_pair,
    "late-alarm-index": late_alarm_index,
    "no-alarm-index": no_alarm_index,
}


def blurred_outcome() -> None:
    """A failed sync is reported as if nothing had been applied."""
    sync = CommitLine.sync

    def not_applied(self: CommitLine) -> BaseException | None:
        error = sync(self)
        return None if error is None else StorageFailure(str(error), outcome="not-applied")

    CommitLine.sync = not_applied  # type: ignore[method-assign]
    # A call whose commit went through is told "unknown" whatever the error says; not so here.
    StorageFailure.of_longer_call = lambda self: self  # type: ignore[method-assign]


def hasty_quarantine() -> None:
    """Whatever can't be opened is called damaged."""
    failures._MAY_PASS = (apsw.NoMemError,)


def stays_broken() -> None:
    """An instance that was reset is never replaced."""
    forget = ObjectClass.forget
    ObjectClass.forget = lambda self, actor: forget(self, actor) if actor.broken is None else None  # type: ignore[method-assign]


def no_answer() -> None:
    """Who waits for a commit that fails waits for ever."""
    finish = Batch.finish
    Batch.finish = lambda self, error: finish(self, error) if error is None else None  # type: ignore[method-assign]


def log_flood() -> None:
    """Every failure is logged, and each commit tries again what failed."""
    Log.limited = lambda self, monotonic: self  # type: ignore[method-assign]
    checkpoints.RETRY_AFTER_S = 0.0


def gives_up() -> None:
    """A failing disk ends the whole server."""
    commit_failed = Commits.commit_failed

    def ends(self: Commits, error: BaseException) -> None:
        commit_failed(self, error)
        os._exit(1)

    Commits.commit_failed = ends  # type: ignore[method-assign]


FAULT_BUGS: dict[str, Callable[[], None]] = {
    "early-answer": early_answer,
    "blurred-outcome": blurred_outcome,
    "hasty-quarantine": hasty_quarantine,
    "stays-broken": stays_broken,
    "no-answer": no_answer,
    "log-flood": log_flood,
    "gives-up": gives_up,
}


def plant(name: str) -> None:
    """Plant one bug in this process."""
    (DISK_BUGS | FAULT_BUGS)[name]()


def no_gate() -> None:
    """Critical sections keep nobody out."""
    InputGate.enter_event = lambda self: True  # type: ignore[method-assign]


def lost_alarm() -> None:
    """An alarm that is set anew is not indexed if one is indexed already, whenever that is due."""
    changed = AlarmScheduler.changed

    def keeps(self, key, due_ms, batch):  # type: ignore[no-untyped-def] # as `changed`
        if due_ms is not None and key.address in self._entries:
            return None
        return changed(self, key, due_ms, batch)

    AlarmScheduler.changed = keeps  # type: ignore[method-assign]


def two_instances() -> None:
    """An instance is evicted though it is busy, and its code goes on."""
    Actor.is_idle = property(lambda self: self._is_started)  # type: ignore[assignment,misc] # read only


def lost_update() -> None:
    """A read lets others run before it answers, as a storage without an input gate would."""
    get = DurableObjectStorage.get

    def slow_get(self, key, *options):  # type: ignore[no-untyped-def] # as `get`
        async def later() -> object:
            value = await get(self, key, *options)
            await asyncio.sleep(0)
            return value

        return later()

    DurableObjectStorage.get = slow_get  # type: ignore[method-assign]


def unordered_calls() -> None:
    """Of the events that wait at a gate the last one goes first."""

    def drain(self: InputGate) -> None:
        self._drain_scheduled = False
        queue = self.current.starts or self.current.waiters
        if queue and not self.is_busy and self.broken is None:
            queue.pop().proceed()
        if not self.is_busy and (self.current.starts or self.current.waiters):
            self.schedule_drain()

    InputGate._drain = drain  # type: ignore[method-assign]


def unfinished_file_is_trusted() -> None:
    """A new file that no sync has covered stays when its instance ends."""
    ObjectFiles.discard = lambda self: None  # type: ignore[method-assign]


def successor_answers_early() -> None:
    """Writes of an instance do not wait for those of the one before it."""

    def follow(self: Actor, unsettled: Batch) -> None:
        self.output.lock(unsettled)

    Actor._follow = follow  # type: ignore[method-assign]


RUNTIME_BUGS: dict[str, Callable[[], None]] = {
    "early-answer": early_answer,
    "torn-pair": torn_pair,
    "no-gate": no_gate,
    "lost-alarm": lost_alarm,
    "two-instances": two_instances,
    "lost-update": lost_update,
    "unordered-calls": unordered_calls,
    "no-alarm-index": no_alarm_index,
    "unfinished-file-is-trusted": unfinished_file_is_trusted,
    "successor-answers-early": successor_answers_early,
}

_CHANGED: tuple[tuple[type, str], ...] = (
    (OutputGate, "barrier"),
    (Transactions, "before_write"),
    (InputGate, "enter_event"),
    (InputGate, "_drain"),
    (AlarmScheduler, "changed"),
    (Actor, "is_idle"),
    (DurableObjectStorage, "get"),
    (ObjectFiles, "discard"),
    (Actor, "_follow"),
)


@contextlib.contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Plant one of `RUNTIME_BUGS` for as long as the block runs; None: none."""
    before = [(cls, attribute, vars(cls)[attribute]) for cls, attribute in _CHANGED]
    try:
        if name is not None:
            RUNTIME_BUGS[name]()
        yield
    finally:
        for cls, attribute, value in before:
            setattr(cls, attribute, value)
