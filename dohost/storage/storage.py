"""`ctx.storage`: what user code holds, with Cloudflare's names.

Every method acts at call time and returns a completed awaitable; only `transaction` and `sync` can really
wait. Errors are raised at the call, not at the `await`: a put that nobody awaits still fails loudly.
Options come as a dict or as keywords, as Cloudflare's Python SDK takes them.

The class only checks arguments and access, in this order: access, arguments, open the transaction,
act. The rules live in `kv`, `sql`, `metadata` and `transaction`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeVar

from workers.values import JsDict

from dohost.clock import Clock
from dohost.errors import JsException, JsTypeError
from dohost.storage.arguments import (
    UNDEFINED,
    UNDEFINED_VALUE,
    Options,
    check_options,
    is_confirmed,
    key_of,
    milliseconds_of,
    range_of,
)
from dohost.storage.awaitable import NO, NOTHING, YES, Completed
from dohost.storage.database import Database
from dohost.storage.explicit import DELETE_ALL_IN_TRANSACTION, DurableObjectTransaction
from dohost.storage.kv import KeyValue, SyncKvStorage
from dohost.storage.metadata import Metadata
from dohost.storage.recovery import Recovery
from dohost.storage.sql import SqlStorage
from dohost.storage.transaction import (
    StorageHost,
    Transactions,
)

__all__ = ["DurableObjectStorage", "DurableObjectTransaction", "StorageHost"]

Result = TypeVar("Result")

OWNER = "DurableObjectStorage"
KV_NOT_ENABLED = (
    "The storage.kv (synchronous KV) API is only available for SQLite-backed Durable Objects, but "
    "this object's namespace is not declared to use SQLite."
)
NOT_BACKED_BY_SQL = "Durable Object is not backed by SQL."
PUT_USAGE = (
    "put() may only be called with a single key-value pair and optional options as put(key, value, "
    "options) or with multiple key-value pairs and optional options as put(entries, options)"
)
NO_ALARMS = "Facets currently cannot set alarms."
NO_ALARM_HANDLER = (
    "Your Durable Object class must have an alarm() handler in order to call setAlarm()"
)


class DurableObjectStorage:
    """The storage of one object.

    For the runtime: `is_constructing` is true while the class's constructor runs (an alarm handler
    is not required then), and `delete_all_deletes_alarm` is the compatibility flag of that name.
    `has_alarms` is false in a facet. `on_delete_all` deletes what else is the object's.
    """

    def __init__(
        self,
        database: Database,
        host: StorageHost,
        *,
        clock: Clock,
        sql_enabled: bool = True,
        has_alarm_handler: bool = True,
    ) -> None:
        self._database = database
        self._host = host
        self._clock = clock
        self._is_sql_enabled = sql_enabled
        self._has_alarm_handler = has_alarm_handler
        self.is_constructing = False
        self.delete_all_deletes_alarm = True
        self.has_alarms = True
        self.on_delete_all: Callable[[], None] = _nothing_more
        self._metadata = Metadata(database)
        self._recovery = Recovery(database.path, database.history, database.log_state)
        self._kv = KeyValue(database)
        self.transactions = Transactions(database, self._metadata, host)
        self._sync_kv = SyncKvStorage(
            self._kv, before_read=host.check_access, before_write=self.transactions.before_write
        )
        self.sql = SqlStorage(
            database,
            self.transactions,
            check_access=host.check_access,
            is_enabled=sql_enabled,
        )
        database.on_critical = host.broke

    def __repr__(self) -> str:
        return f"<DurableObjectStorage {self._database!r}>"

    # Key-value ------------------------------------------------------------------------------

    def get(
        self, key: str | list[str], options: Options | None = None, /, **named: object
    ) -> Completed[object]:
        """Give the value of a key (None if it has none), or a mapping of the keys that exist."""
        self._host.check_access()
        if options is not None:
            check_options(options, OWNER, "get")
        if type(key) is str:
            return Completed(self._kv.get(key if key.isascii() else key_of(key)))
        if isinstance(key, list):
            return Completed(self._kv.get_many([key_of(each) for each in key]))
        return Completed(self._kv.get(key_of(key)))

    def put(
        self,
        key: str | Mapping[str, object],
        value: object = UNDEFINED,
        options: Options | None = None,
        /,
        **named: object,
    ) -> Completed[None]:
        """Store one value, `put(key, value, options)`, or several or none, `put(entries, options)`."""
        self._host.check_access()
        if isinstance(key, Mapping):
            return self._put_many(key, value, named)
        name = key_of(key)
        if value is UNDEFINED:
            raise JsTypeError(UNDEFINED_VALUE)
        if options is not None:
            check_options(options, OWNER, "put")
        encoded = self._kv.encode(name, value)
        self.transactions.before_write(confirmed=is_confirmed(options, named))
        self._kv.put_encoded([(name, encoded)])
        return NOTHING

    def delete(
        self, key: str | list[str], options: Options | None = None, /, **named: object
    ) -> Completed[bool] | Completed[int]:
        """Delete a key and tell whether it existed, or several and tell how many did."""
        self._host.check_access()
        check_options(options, OWNER, "delete")
        confirmed = is_confirmed(options, named)
        if isinstance(key, list):
            keys = [key_of(each) for each in key]
            self.transactions.before_write(confirmed=confirmed)
            return Completed(self._kv.delete_many(keys))
        name = key_of(key)
        self.transactions.before_write(confirmed=confirmed)
        return YES if self._kv.delete(name) else NO

    def list(self, options: Options | None = None, /, **named: object) -> Completed[JsDict]:
        """Give the keys of a range and their values, in the order of UTF-8 bytes.

        Options: start, startAfter, end, prefix, reverse, limit.
        """
        self._host.check_access()
        check_options(options, OWNER, "list")
        wanted = range_of(options, named)
        self._sync_kv.make_way_for(wanted)
        return Completed(self._kv.within(wanted))

    def deleteAll(self, options: Options | None = None, /, **named: object) -> Completed[None]:
        """Discard the open transaction and delete everything that the object has stored."""
        self._host.check_access()
        check_options(options, OWNER, "deleteAll")
        if self.transactions.is_open:
            raise JsException(DELETE_ALL_IN_TRANSACTION)
        self.on_delete_all()
        if not self._database.exists:
            return NOTHING
        due_ms = self._metadata.due_ms()
        self.sql.close_cursors()
        self._sync_kv.close_iterator()
        self.transactions.forget_in_database()
        self._database.delete_contents()
        self._host.wrote(True)
        if self.delete_all_deletes_alarm:
            self._metadata.write_alarm_ms(None)
        else:
            self._metadata.keep_alarm_ms(due_ms)
        return NOTHING

    @property
    def kv(self) -> SyncKvStorage:
        """The same keys and values, without awaitables."""
        if not self._is_sql_enabled:
            raise JsException(KV_NOT_ENABLED)
        return self._sync_kv

    # Alarm ----------------------------------------------------------------------------------

    def getAlarm(self, options: Options | None = None, /, **named: object) -> Completed[int | None]:
        """Give the time of the alarm in ms, or None if none is set or its handler is running."""
        self._host.check_access()
        check_options(options, OWNER, "getAlarm")
        return Completed(self._metadata.read_alarm_ms())

    def setAlarm(
        self, due: int | float | datetime, options: Options | None = None, /, **named: object
    ) -> Completed[None]:
        """Set the alarm to a datetime or ms since the epoch; a past time means now."""
        self._host.check_access()
        due_ms = milliseconds_of(due, OWNER)
        check_options(options, OWNER, "setAlarm")
        if not self.has_alarms:
            raise JsException(NO_ALARMS)
        if due_ms <= 0:
            raise JsTypeError("setAlarm() cannot be called with an alarm time <= 0")
        if not self._has_alarm_handler and not self.is_constructing:
            raise JsTypeError(NO_ALARM_HANDLER)
        due_ms = max(due_ms, self._clock.realtime_ns() // 1_000_000)
        if due_ms != self._metadata.read_alarm_ms():
            self.transactions.before_write(confirmed=is_confirmed(options, named))
            self._metadata.write_alarm_ms(due_ms)
        return NOTHING

    def deleteAlarm(self, options: Options | None = None, /, **named: object) -> Completed[None]:
        """Delete the alarm if one is set; does not stop a handler that is running."""
        self._host.check_access()
        check_options(options, OWNER, "deleteAlarm")
        if self._metadata.due_ms() is not None:
            self.transactions.before_write(confirmed=is_confirmed(options, named))
            self._metadata.write_alarm_ms(None)
        return NOTHING

    # Transactions ---------------------------------------------------------------------------

    def transaction(
        self, callback: Callable[[DurableObjectTransaction], Awaitable[Result] | Result]
    ) -> Awaitable[Result]:
        """Run `callback(txn)` with other events held back; what it writes is kept or undone as one.

        An exception of the callback undoes its writes and reaches the caller; the object lives on.
        Cancellation undoes them too.
        """
        self._host.check_access()
        return self._host.critical_section(lambda: self._run_transaction(callback))

    def transactionSync(self, callback: Callable[[], Result]) -> Result:
        """Run `callback()`; an exception undoes what it wrote and is raised again. May be nested."""
        self._host.check_access()
        if not self._is_sql_enabled:
            raise JsException(NOT_BACKED_BY_SQL)
        return self.transactions.run_sync(callback)

    def sync(self) -> Awaitable[None]:
        """Wait until every write made so far is durable."""
        self._host.check_access()
        return self._host.committed_so_far()

    # Bookmarks ------------------------------------------------------------------------------

    def getCurrentBookmark(self) -> Completed[str]:
        """Give a bookmark of now, with what the running turn has written; later ones are greater."""
        self._host.check_access()
        if not self._database.exists:
            self.transactions.before_write()
        return Completed(self._recovery.current(is_writing=self._database.in_transaction))

    def getBookmarkForTime(self, time: int | float | datetime) -> Completed[str]:
        """Give a bookmark of the last commit that was made before the second of `time` (ms or datetime).

        Raises: JsException if the history does not reach back so far.
        """
        self._host.check_access()
        time_s = milliseconds_of(time, OWNER, method="getBookmarkForTime") // 1000
        if not self._database.exists:
            self.transactions.before_write()
        return Completed(self._recovery.at_time(time_s))

    def onNextSessionRestoreBookmark(self, bookmark: str) -> Completed[str]:
        """Let the next instance of this object begin with the state of `bookmark`; see `ctx.abort()`.

        Gives a bookmark of the moment before that happens, which undoes it. The order is durable when
        this returns, whatever becomes of the open transaction. Raises: JsException.
        """
        self._host.check_access()
        if not self._database.exists:
            self.transactions.before_write()
        return Completed(self._recovery.restore_next(bookmark))

    # For the runtime ------------------------------------------------------------------------

    def alarm_due_ms(self) -> int | None:
        """Return when the alarm is due, also while its handler runs."""
        return self._metadata.due_ms()

    def take_alarm_change(self) -> tuple[bool, int | None]:
        """Return, after a commit, whether the alarm changed since the last call, and its time."""
        return self._metadata.take_change()

    def begin_alarm_run(self) -> None:
        """The alarm's handler starts: `getAlarm` is None until it sets a new one."""
        self._metadata.begin_run()

    def finish_alarm_run(self, *, success: bool) -> bool:
        """The handler has ended: on success delete its alarm, unless it has set a new one.

        Returns whether the alarm was still the one that had run.
        """
        is_still_set = self._metadata.is_run_done_by_deleting
        self._metadata.end_run()
        if success and is_still_set:
            self.transactions.before_write()
            self._metadata.write_alarm_ms(None)
        return is_still_set

    # Helpers --------------------------------------------------------------------------------

    def _put_many(
        self, entries: Mapping[str, object], options: object, named: Options
    ) -> Completed[None]:
        if options is UNDEFINED:
            options = None
        if options is not None and not isinstance(options, Mapping):
            raise JsTypeError(PUT_USAGE)
        encoded = self._kv.encode_many(entries)
        if not encoded:
            return NOTHING
        confirmed = is_confirmed(options, named)
        savepoint = self.transactions.save()
        try:
            self.transactions.before_write(confirmed=confirmed)
            self._kv.put_encoded(encoded)
        except BaseException:
            self.transactions.undo(savepoint)
            raise
        self.transactions.release(savepoint)
        return NOTHING

    async def _run_transaction(
        self, callback: Callable[[DurableObjectTransaction], Awaitable[Result] | Result]
    ) -> Result:
        transactions = self.transactions
        while not transactions.explicit_depth and self._database.in_transaction:
            await self._host.committed_so_far()
        savepoint = transactions.begin_explicit()
        txn = DurableObjectTransaction(self, savepoint)
        try:
            result = callback(txn)
            # inspect, not isinstance: generator-based coroutines are awaitable too.
            value: Result = await result if inspect.isawaitable(result) else result
        except BaseException:
            if txn.is_rolled_back:
                transactions.keep(savepoint)
            else:
                transactions.undo(savepoint)
            txn.is_over = txn.is_rolled_back = True
            transactions.end_explicit()
            raise
        txn.is_over = True
        try:
            transactions.release(savepoint)
        finally:
            transactions.end_explicit()
        return value


def _nothing_more() -> None:
    """Stand in for `on_delete_all`."""
