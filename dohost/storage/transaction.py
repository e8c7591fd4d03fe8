"""The three states of an object's storage: no transaction, implicit, explicit.

*Implicit*: the first write opens it and the end of the turn commits it. *Explicit*: `transaction()` holds
the commit over several turns while its critical section keeps other events out; what it writes is
announced to the host only when the outermost one ends, because an output that waited for a commit
which waits for that output would never leave. Both nest by savepoints, as does `transactionSync`.

A savepoint is undone together with the one fact beside the file, `Metadata.snapshot`. After a critical
error SQLite has no transaction any more, so nothing is undone then: the object is being reset.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from dohost.errors import JsException
from dohost.storage.database import Database
from dohost.storage.metadata import Metadata, Run

Result = TypeVar("Result")

EARLIER_CRITICAL = "Cannot commit transaction due to an earlier SQL critical error"
NESTED_RUNNING = (
    "Cannot roll back an outer transaction while a nested transaction is still running."
)


class StorageHost(Protocol):
    """What the storage needs of the object that it belongs to."""

    def check_access(self) -> None:
        """Raise if the object was reset or shut down, or the caller is in another thread."""
        ...

    def wrote(self, confirmed: bool) -> None:
        """A write happens in the open transaction: commit it when the turn ends. Idempotent."""
        ...

    def critical_section(
        self, callback: Callable[[], Awaitable[Result] | Result]
    ) -> Awaitable[Result]:
        """Run `callback` with the input gate closed to other events."""
        ...

    def committed_so_far(self) -> Awaitable[None]:
        """Return an awaitable that is done when every write made so far is durable."""
        ...

    def broke(self, error: BaseException) -> None:
        """A critical error ended the open transaction: the object is reset with `error`."""
        ...


class Savepoint:
    """A point to which the open transaction can go back; it costs nothing until the first write."""

    __slots__ = ("is_confirmed", "is_rolled_back", "is_started", "name", "run")

    def __init__(self, name: str, run: Run, *, is_confirmed: bool) -> None:
        self.name = name
        self.is_confirmed = is_confirmed
        self.run = run
        self.is_started = False
        # Of a transaction that user code rolled back: what it writes now is not part of it.
        self.is_rolled_back = False


class Transactions:
    """Opens transactions before writes, and savepoints inside them."""

    def __init__(self, database: Database, metadata: Metadata, host: StorageHost) -> None:
        self._database = database
        self._metadata = metadata
        self._host = host
        self._savepoints: list[Savepoint] = []
        self.explicit_depth = 0
        self._is_confirmed = False

    @property
    def depth(self) -> int:
        """How many savepoints the caller is in."""
        return len(self._savepoints)

    @property
    def is_open(self) -> bool:
        """Whether the caller is in a transaction that can still be undone."""
        return not all(savepoint.is_rolled_back for savepoint in self._savepoints)

    def forget_in_database(self) -> None:
        """Note that SQLite has no savepoints any more: its transaction is rolled back as a whole."""
        for savepoint in self._savepoints:
            savepoint.is_started = False

    def before_write(self, *, confirmed: bool = True) -> None:
        """Open the implicit transaction if none is open, and see to its commit."""
        database = self._database
        database.begin()
        for savepoint in self._savepoints:
            if not savepoint.is_started:
                database.run(f"SAVEPOINT {savepoint.name}")
                savepoint.is_started = True
        if self.explicit_depth:
            self._is_confirmed = self._is_confirmed or confirmed
        else:
            self._host.wrote(confirmed)

    def save(self) -> Savepoint:
        """Begin a savepoint."""
        savepoint = Savepoint(
            f"_cf_savepoint_{self.depth}",
            self._metadata.snapshot(),
            is_confirmed=self._is_confirmed,
        )
        self._savepoints.append(savepoint)
        return savepoint

    def release(self, savepoint: Savepoint) -> None:
        """Keep what was written since `savepoint`. Raises: JsException after a critical error."""
        is_open = self._end(savepoint)
        if self._database.critical is not None:
            raise JsException(EARLIER_CRITICAL) from self._database.critical
        if is_open:
            self._database.run(f"RELEASE {savepoint.name}")

    def keep(self, savepoint: Savepoint) -> None:
        """End `savepoint`, which was gone back to already: what came after that stays."""
        if self._end(savepoint) and self._database.in_transaction:
            self._database.run(f"RELEASE {savepoint.name}")

    def undo(self, savepoint: Savepoint) -> None:
        """Undo what was written since `savepoint`, and end it."""
        is_open = self._end(savepoint)
        if is_open and self._database.in_transaction:
            self.go_back(savepoint)
            self._database.run(f"RELEASE {savepoint.name}")

    def go_back(self, savepoint: Savepoint) -> None:
        """Undo what was written since `savepoint`, which stays."""
        if savepoint.is_started:
            self._database.run(f"ROLLBACK TO {savepoint.name}")
        self._metadata.restore(savepoint.run)
        # Nobody has to wait for a write that is undone.
        self._is_confirmed = savepoint.is_confirmed

    def run_sync(self, callback: Callable[[], Result]) -> Result:
        """Run `callback` in a savepoint; an exception undoes it and is raised again."""
        savepoint = self.save()
        try:
            result = callback()
        except BaseException:
            self.undo(savepoint)
            raise
        self.release(savepoint)
        return result

    def begin_explicit(self) -> Savepoint:
        """Begin an explicit transaction; what was open before must be committed."""
        self._database.commits_held += 1
        self.explicit_depth += 1
        return self.save()

    def end_explicit(self) -> None:
        """End one; after the outermost, let its writes be committed and outputs wait for them."""
        self.explicit_depth -= 1
        database = self._database
        # A reset has released the hold already.
        database.commits_held = max(database.commits_held - 1, 0)
        if self.explicit_depth == 0:
            confirmed, self._is_confirmed = self._is_confirmed, False
            if database.in_transaction:
                self._host.wrote(confirmed)

    def _end(self, savepoint: Savepoint) -> bool:
        """End `savepoint` and what began inside it; return whether SQLite has it to be ended there."""
        # A nested transaction that nobody awaited may outlive the one it began in, and ended with it.
        if savepoint not in self._savepoints:
            return False
        del self._savepoints[self._savepoints.index(savepoint) :]
        return savepoint.is_started
