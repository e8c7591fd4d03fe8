"""One object's database: one file, one connection, one transaction. (Long: all that SQLite is told.)

An object that never wrote has no file. Until its first write its reads see an empty database; `begin`
creates the file from an image. The connection is used on the loop's thread only, and everything runs at
call time. `sync` and `checkpoint_passive` are the only calls made in other threads, and they touch
descriptors and a connection of their own.

Invariants: (1) `in_transaction` is what the host believes; whenever SQLite rolled back by itself, the
first error that shows it is *critical*: it is kept, reported through `on_critical`, and no statement runs
after it. (2) A file that can't be trusted is never written. (3) While a commit is held (an explicit
transaction is open over several turns), `commit` does nothing. This file knows no user SQL and no values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw

from dohost.errors import (
    DohostError,
    JsException,
    Quarantined,
    TooManyFiles,
)
from dohost.storage import schema
from dohost.storage.authorizer import Authorizer
from dohost.storage.checkpoint import copy_in_thread
from dohost.storage.connecting import Connected, DatabaseOptions, connect, connect_new
from dohost.storage.connection import Row, SQLiteValue, set_up, sync_where_needed
from dohost.storage.directories import Directory
from dohost.storage.failures import (
    failed_to_begin,
    failed_to_commit,
    failed_to_open,
    failed_to_read,
    message_of,
    translate,
)
from dohost.storage.files import ObjectFiles
from dohost.storage.integrity import check_files, is_damage, is_there, quarantine
from dohost.storage.log_file import signed_time
from dohost.storage.own_log import OwnLog
from dohost.storage.restore import carry_out, is_ordered
from dohost.storage.schema import ObjectMeta
from dohost.storage.timeline import LogState

__all__ = ["Database", "DatabaseOptions", "ObjectMeta"]

Bindings = Sequence[str | bytes | int | float | None]
# Own key in apsw's statement cache: user SQL with the same text is compiled under the authorizer.
_HOST = apsw.SQLITE_PREPARE_PERSISTENT
_PAGE_COUNTS = (
    "SELECT (SELECT page_count FROM pragma_page_count) - "
    "(SELECT freelist_count FROM pragma_freelist_count) - (SELECT count(*) FROM sqlite_schema "
    "WHERE rootpage > 0 AND name LIKE '\\_cf\\_%' ESCAPE '\\')"
)
PAGE_BYTES = 4096


class Database:
    """The file of one object. `directory`: shared by the files in it, so that they share its syncs.

    Raises at once, if the file exists: Quarantined if it can't be trusted, StorageFailure or TooManyFiles
    if it can't be opened now.
    """

    def __init__(
        self,
        path: Path,
        meta: ObjectMeta,
        options: DatabaseOptions = DatabaseOptions(),  # noqa: B008 - it has no state
        *,
        directory: Directory | None = None,
    ) -> None:
        self.path = path
        self.is_strict = options.is_strict
        self.authorizer = Authorizer()
        self.exists = False
        self.is_begun_anew = False
        self.in_transaction = False
        self.is_closed = False
        self.commits_held = 0
        self.critical: JsException | None = None
        self.on_critical: Callable[[DohostError], None] = _ignore
        self.make_room: Callable[[], bool] = (
            bool  # There is nobody else whose files could be closed.
        )
        self._meta = meta
        self._clock = options.clock
        self.history = options.history
        self._marked_s = 0
        self._may_be_in_log = False
        self._log = OwnLog(path, options.history)
        self._files = ObjectFiles(path, directory or Directory(path.parent))
        self._connection: apsw.Connection | None = None
        self._empty: apsw.Connection | None = None
        self._cursor: apsw.Cursor
        # Which of the host's tables can be read: a new object has none, a file of wrangler's not all.
        self.has_kv = False
        self.has_metadata = False
        # As long as nothing of a new file is durable, SQLite has nothing to keep in order.
        self._is_sqlite_syncing = True
        self._is_complete = False
        self._inventory = schema.NOTHING
        if is_there(path):
            self._open_existing()

    def __repr__(self) -> str:
        status = "closed" if self.is_closed else "open" if self.exists else "without a file"
        return f"<Database {self.path.name} {status}, {self.wal_pages} pages in the log>"

    @property
    def wal_pages(self) -> int:
        """How long the log is; 0 once it has been copied and starts anew."""
        return self._log.pages

    @property
    def created_now(self) -> bool:
        """Whether this instance created the file and its first sync has not happened."""
        return self._files.is_created_now

    @property
    def has_failed(self) -> bool:
        """Whether a sync has failed."""
        return self._files.has_failed

    # Transactions ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the implicit transaction if none is open; creates the file if there is none.

        Raises: StorageFailure or TooManyFiles if there is no file and none can be made, or if it can't be
        written.
        """
        if self.in_transaction:
            return
        self.ensure_file()
        self.get_ready()
        if not self._is_sqlite_syncing:
            self._let_sqlite_sync()
        try:
            self._cursor.execute("BEGIN IMMEDIATE", prepare_flags=_HOST)
        except apsw.ReadOnlyError as error:
            # SQLite could open the log, or its index, for reading only, and never tries again.
            failure = failed_to_begin(self.path, error)
            self.on_critical(failure)
            raise failure from error
        except apsw.Error as error:
            raise self.failed(error) from error
        self.in_transaction = True
        if not self._is_complete:
            schema.complete(self.execute, self._meta, self._inventory)
            assert self._connection is not None, "there is a transaction"
            self._connection.set_last_insert_rowid(0)  # the host's own row is nobody's business
            self._believe(schema.COMPLETE)

    def ensure_file(self) -> None:
        """Create the file if there is none. Raises: StorageFailure, TooManyFiles."""
        if self._connection is not None:
            return
        try:
            self._create()
        except TooManyFiles:
            if not self.make_room():
                raise
            self._create()

    def get_ready(self) -> None:
        """Open what `sync` needs, unless it is or nothing is there. Raises: StorageFailure, TooManyFiles."""
        if self._files.is_ready or not self.exists:
            return
        try:
            self._files.get_ready()
        except TooManyFiles:
            if not self.make_room():
                raise
            self._files.get_ready()

    def commit(self) -> None:
        """COMMIT what is open, without waiting for the disk; no-op if nothing is, or if it is held.

        Raises: JsException if constraints are violated, StorageFailure if the disk fails; the
        transaction is gone in both cases. Quarantined if the file turns out to be damaged.
        """
        if not self.in_transaction or self.commits_held:
            return
        now_s = self._now_s()
        was_in_log, self._may_be_in_log = self._may_be_in_log, True
        try:
            if now_s != self._marked_s:
                self._mark_time(now_s)
            if self._files.log_room is not None:
                self._files.log_room.make(self._log.pages)
            self._cursor.execute("COMMIT", prepare_flags=_HOST)
        except apsw.Error as error:
            self.rollback()
            if is_damage(error):
                raise quarantine(self.path, message_of(error)) from error
            if isinstance(error, (apsw.ConstraintError, apsw.FullError)):
                self._may_be_in_log = was_in_log
            raise failed_to_commit(error) from error
        self.in_transaction = False
        self._marked_s = now_s
        self._inventory = schema.COMPLETE

    def rollback(self) -> None:
        """Discard the open transaction, also a held one; no-op if none is open."""
        connection = self._connection
        if connection is not None and not self.is_closed and connection.in_transaction:
            # A ROLLBACK that fails has been done by SQLite already, or is done by close().
            with contextlib.suppress(apsw.Error):
                self._cursor.execute("ROLLBACK", prepare_flags=_HOST)
        self.in_transaction = False
        self.commits_held = 0
        self._believe(self._inventory)

    def sync(self) -> None:
        """Block until everything committed so far survives a power cut; once ready, for any thread.

        Raises: OSError; the fate of what was committed is then unknown.
        """
        if self.exists:
            self._files.sync()

    # Statements of the host -----------------------------------------------------------------

    def run(self, sql: str, bindings: Bindings = ()) -> None:
        """Execute a host statement that returns no rows. Raises: JsException."""
        try:
            self._cursor.execute(sql, bindings, prepare_flags=_HOST)
        except apsw.Error as error:
            raise self.failed(error) from error

    def value(self, sql: str, bindings: Bindings = ()) -> SQLiteValue:
        """Return the only column of the only row of a host query, or None. Raises: JsException."""
        try:
            # A query that can have one row of one column at most: `get` unpacks both.
            return self._cursor.execute(sql, bindings, prepare_flags=_HOST).get  # type: ignore[no-any-return] # see above
        except apsw.Error as error:
            raise self.failed(error) from error
        except UnicodeDecodeError as error:
            raise self._garbled() from error

    def execute(self, sql: str, bindings: Bindings = ()) -> list[Row]:
        """Execute a host statement and return its rows. Raises: JsException."""
        try:
            return self._cursor.execute(sql, bindings, prepare_flags=_HOST).fetchall()
        except apsw.Error as error:
            raise self.failed(error) from error
        except UnicodeDecodeError as error:
            raise self._garbled() from error

    def query(self, sql: str, bindings: Bindings = ()) -> apsw.Cursor:
        """Start a host query whose rows are read one by one. Raises: JsException."""
        assert self._connection is not None, "only a file can be read"
        try:
            return self._connection.execute(sql, bindings, prepare_flags=_HOST)
        except apsw.Error as error:
            raise self.failed(error) from error

    def next_row(self, cursor: apsw.Cursor) -> Row | None:
        """Return the next row of a query, or None at its end. Raises: JsException."""
        try:
            return next(cursor, None)
        except apsw.Error as error:
            raise self.failed(error) from error
        except UnicodeDecodeError as error:
            raise self._garbled() from error

    @property
    def changes(self) -> int:
        """Rows changed by the last statement."""
        assert self._connection is not None, "only a file can change"
        return self._connection.changes()

    @property
    def size_bytes(self) -> int:
        """Bytes of the pages in use, without the root pages of the host's own tables."""
        if self._connection is None:
            return PAGE_BYTES
        pages = self.value(_PAGE_COUNTS)
        assert isinstance(pages, int), "a sum of counts"
        return max(pages, 1) * PAGE_BYTES

    def failed(self, error: apsw.Error) -> JsException:
        """Translate an error; if SQLite ended the transaction by itself, break the object.

        Raises: Quarantined, which breaks it too, if the file turns out to be damaged.
        """
        if is_damage(error):
            damage = quarantine(self.path, message_of(error))
            self.on_critical(damage)
            raise damage from error
        failure = translate(error)
        connection = self._connection
        if self.in_transaction and connection is not None and not connection.in_transaction:
            self.critical = failure
            self.rollback()
            self.on_critical(failure)
        return failure

    def _garbled(self) -> Quarantined:
        """Break the object: the host's own text, which was UTF-8, is not any more."""
        damage = quarantine(self.path, "text of a key or value is not UTF-8")
        self.on_critical(damage)
        return damage

    # The connection -------------------------------------------------------------------------

    def user_connection(self) -> apsw.Connection:
        """Return the connection for user SQL: the file's, or an empty database for reads."""
        if self._connection is not None:
            return self._connection
        if self._empty is None:
            self._empty = apsw.Connection(":memory:")
            set_up(self._empty, strict=self.is_strict)
            self.authorizer.guard(self._empty)
        return self._empty

    def delete_contents(self) -> None:
        """Discard the open transaction and empty everything in a new one, which stays open.

        All cursors of user SQL must be closed. The alarm is the caller's.
        """
        self.rollback()
        self.begin()
        schema.empty(self.execute)

    def log_state(self) -> LogState:
        """Return the log's header and how many of its frames are committed. Raises: HostError."""
        return self._log.state()

    def checkpoint_passive(self) -> None:
        """Copy the log into the main file; blocks, for a thread. Raises: apsw.Error, OSError."""
        copy_in_thread(
            self.path,
            self.history,
            now_s=self._now_s(),
            require_trust=self._files.require_trust,
        )

    def checkpoint_finish(self) -> None:
        """Copy the tail of the log on the loop; not in a transaction, nor after a failed sync."""
        if self._connection is None or self.is_closed or self.in_transaction:
            return
        if self._files.has_failed:  # One that fails just now, the system tells SQLite too.
            return
        self._let_sqlite_sync()
        self._log.copy_tail(self._connection, now_s=self._now_s())

    def close(self) -> None:
        """Close without a checkpoint; the log stays beside the file. Idempotent.

        A new file in which nothing was committed goes with the instance that made it: no sync has covered
        it, and the next instance would take it for one that is on the disk.
        """
        if self.is_closed:
            return
        self.is_closed = True
        self.in_transaction = False
        for connection in (self._connection, self._empty):
            if connection is not None:
                connection.close(True)
        if self.created_now and not self._may_be_in_log:
            self._files.discard()
        self._files.close()

    def _create(self) -> None:
        is_there(self.path)
        self._files.create(schema.image())
        try:
            self._use(connect_new(self.path, is_strict=self.is_strict))
        except apsw.Error as error:
            self._files.discard()
            raise failed_to_open(self.path, error) from error
        self._is_sqlite_syncing = False

    def _open_existing(self) -> None:
        try:
            if is_ordered(self.path):
                check_files(self.path)
                carry_out(self.path, now_s=self._now_s())
            self._use(connect(self.path, self._meta, self._files, is_strict=self.is_strict))
        except apsw.Error as error:
            raise failed_to_open(self.path, error) from error
        except OSError as error:
            raise failed_to_read(self.path, error) from error

    def _use(self, connected: Connected) -> None:
        connection = connected.connection
        self._cursor = connection.cursor()
        self._inventory = connected.inventory
        self._believe(connected.inventory)
        self.authorizer.guard(connection)
        connection.set_wal_hook(self._note_log)
        self._connection = connection
        self.exists = True

    def _believe(self, inventory: schema.Inventory) -> None:
        self.has_kv = "_cf_KV" in inventory.tables
        self.has_metadata = "_cf_METADATA" in inventory.tables
        self._is_complete = inventory.is_complete

    def _let_sqlite_sync(self) -> None:
        """Let SQLite sync where it must, now that something of a new file may be durable."""
        if not self._is_sqlite_syncing and not self._files.is_created_now:
            assert self._connection is not None, "the file was created"
            sync_where_needed(self._connection)
            self._is_sqlite_syncing = True

    def _now_s(self) -> int:
        return self._clock.realtime_ns() // 1_000_000_000

    def _mark_time(self, now_s: int) -> None:
        """Let the first commit of each second say when it is, in a field that user SQL can't set."""
        self._cursor.execute(f"PRAGMA user_version = {signed_time(now_s)}")

    def _note_log(self, connection: apsw.Connection, schema_name: str, pages: int) -> int:
        self._log.committed(pages)
        return apsw.SQLITE_OK


def _ignore(error: DohostError) -> None:
    """Stand in for `on_critical` until the storage has set it: the caller gets the error anyway."""
