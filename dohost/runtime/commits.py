"""What the commit of one instance's writes does: the file first, then what others have to know of it.

A commit's outcome leaves the object when the file is synced, the index of alarms knows of a changed alarm,
and a new file is recorded. What fails here ends the instance, because what it remembers is not what the
file holds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dohost.errors import StorageFailure
from dohost.runtime.aftermath import Aftermath

if TYPE_CHECKING:
    from dohost.runtime.actor import Actor


class Commits:
    """An instance, as its commit line sees it."""

    __slots__ = ("_actor", "_aftermath", "_must_record")

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._aftermath: Aftermath | None = None
        # A new file is known to the catalog once it is durable, and not before.
        self._must_record = actor.object_class.is_unrecorded(actor.key.object_id)

    def commit(self) -> asyncio.Future[None] | None:
        """COMMIT; return what the catalog must make durable before the writes are acknowledged."""
        actor = self._actor
        parts = actor.object_class.parts
        if parts.faults is not None:
            parts.faults.before_commit(actor.key)
        actor.database.commit()
        if actor.database.created_now:
            self._must_record = True
        alarms = parts.alarms
        is_changed, due_ms = actor.storage.take_alarm_change()
        if not is_changed and not alarms.is_behind(actor.key.address, due_ms):
            return None
        batch = actor.line.latest()
        assert batch is not None, "a commit belongs to a batch"
        return alarms.changed(actor.key, due_ms, batch)

    def sync(self) -> None:
        """Block until what was committed is on the disk; in a thread or on the loop."""
        self._actor.database.sync()

    @property
    def is_sync_heavy(self) -> bool:
        return self._actor.database.created_now

    @property
    def is_held(self) -> bool:
        # A batch without a transaction (an instance that begins with a sync) has nothing to hold.
        database = self._actor.database
        return database.commits_held > 0 and database.in_transaction

    def after_sync(self) -> asyncio.Future[None] | None:
        """Follow up a durable commit: keep the log short, and have a new file recorded."""
        actor = self._actor
        if not actor.is_evicted and actor.broken is None:
            actor.object_class.parts.checkpointer.after_commit(actor)
        if not self._must_record:
            return None
        self._must_record = False
        return actor.object_class.record(actor.key)

    def commit_failed(self, error: BaseException) -> None:
        """Reset: what this instance remembers is not what the file holds."""
        actor = self._actor
        if isinstance(error, StorageFailure) and error.outcome == "unknown":
            database = actor.database
            # What the first sync of a new file covers may yet be acknowledged, while it runs.
            is_void = database.created_now and (database.has_failed or not actor.line.is_in_log)
            aftermath = Aftermath.unfinished if is_void else Aftermath.sync_failed
            # Once: the next instance may have dealt with it when later batches of this one fail.
            if self._aftermath is None or aftermath > self._aftermath:
                self._aftermath = aftermath
                actor.object_class.aftermaths.note(actor.key.object_id, aftermath)
        actor.reset(error)
