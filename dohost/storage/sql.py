"""`ctx.storage.sql`: user SQL, compiled under the authorizer and run at call time.

apsw shows each statement of a text before it runs (`_Execution.trace`): there the rules about several
statements and about bindings are enforced, and the transaction is opened before the first statement that
writes. A text that was seen to be one statement that only reads needs no second look: it runs as it is.
Statements that write run to their end inside `exec` (an unfinished one would make COMMIT
fail); reads stop at their first row and stay open until they are read or dropped, at most
`CURSORS_MAX` of them, because each pins the write-ahead log.
"""

from __future__ import annotations

import re
import warnings
import weakref
from collections.abc import Callable, Sequence
from functools import partial

import apsw
from workers.values import SAFE_INTEGER_MAX, JsBigInt

from dohost.errors import JsException, JsTypeError
from dohost.memo import Memo
from dohost.storage.authorizer import PRAGMAS_OF_A_BOOLEAN, renames_to_internal
from dohost.storage.coercion import text_of, well_formed
from dohost.storage.connection import SQL_BYTES_MAX, Row
from dohost.storage.database import Database
from dohost.storage.failures import WRONG_BINDINGS
from dohost.storage.sql_cursor import NOT_UTF8, SqlStorageCursor
from dohost.storage.transaction import Transactions

CURSORS_MAX = 64
NOT_ENABLED = (
    "SQL is not enabled for this Durable Object class. To enable it, change `new_classes` to "
    "`new_sqlite_classes` within the 'migrations' field in your wrangler.jsonc or wrangler.toml file."
)
STATEMENT_TOO_LONG = "statement too long: SQLITE_TOOBIG"
DATABASE_DELETED = "SQLite query was canceled because the database was deleted."
TOO_MANY_CURSORS = (
    "This SQL cursor was closed before its end because more than "
    f"{CURSORS_MAX} cursors of this object are open."
)
NO_STATEMENT = "SQL code did not contain a statement."
ONLY_LAST_HAS_PARAMETERS = (
    "When executing multiple SQL statements in a single call, only the last statement can have "
    "parameters."
)
NO_UPDATE_LIMIT = (
    "UPDATE and DELETE with ORDER BY or LIMIT are not available in this build of SQLite; "
    "choose the rows in a subquery (WHERE rowid IN (SELECT rowid … LIMIT …)): "
)
BOOLEAN_BOUND = "A bool is bound as the text 'true' or 'false', as on Cloudflare; a column of integers wants int(…)."
_WHITESPACE = " \t\n\r\v\f"
_BINDINGS_MAX = 100

_BLANK = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_PRAGMA = re.compile(rf"{_BLANK}(?:explain\b.*)?pragma\b", re.IGNORECASE | re.DOTALL)
_PRAGMA_SET = re.compile(
    rf"{_BLANK}pragma\s+(?:main\s*\.\s*)?(\w+)\s*[=(]", re.IGNORECASE | re.DOTALL
)
# SQLite passes over a statement without text between two semicolons.
_EMPTY_END = re.compile(r";\s*;$")
_UPDATE_OR_DELETE = re.compile(r"\s*(?:update|delete)\b", re.IGNORECASE)
_NEAR_LIMIT = re.compile(r'near "(?:limit|order)"', re.IGNORECASE)

# Texts that are one statement that only reads, and how many parameters they have, plus one. What SQLite
# says of that follows from the text alone, whatever tables there are.
_READS: Memo[int] = Memo(entries_max=1_024)
_READ_CHARS_MAX = 4_096

Binding = str | bytes | float | None


class SqlStorage:
    """The SQL side of one object's storage."""

    def __init__(
        self,
        database: Database,
        transactions: Transactions,
        *,
        check_access: Callable[[], None],
        is_enabled: bool,
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._check_access = check_access
        self._is_enabled = is_enabled
        self._open: dict[int, weakref.ref[SqlStorageCursor]] = {}
        self._opened = 0

    def __repr__(self) -> str:
        return f"<SqlStorage {len(self._open)} open cursors>"

    @property
    def databaseSize(self) -> int:
        """Bytes of the database in use; 4096 when it is empty."""
        self._check()
        return self._database.size_bytes

    def exec(self, query: str, *bindings: object) -> SqlStorageCursor:
        """Run every statement of `query` and return a cursor of the last one's rows.

        `bindings` are the parameters of the last statement. Raises: JsException for what SQLite or
        the authorizer refuses; statements before the failing one keep their effect.
        """
        self._check()
        text = text_of(query, "The SQL text").rstrip(_WHITESPACE)
        bound = tuple([_bound(value) for value in bindings])
        if self._database.is_strict and any(isinstance(value, bool) for value in bindings):
            warnings.warn(BOOLEAN_BOUND, stacklevel=2)
        execution = _Execution(self._database, self._transactions, text, bound)
        try:
            if _READS.get(text) == len(bound) + 1:
                cursor = execution.read()
            else:
                cursor = execution.run()
                if text[-1:] == ";" and _EMPTY_END.search(text) is not None:
                    raise JsException(NO_STATEMENT)
                if execution.is_one_read and len(text) <= _READ_CHARS_MAX:
                    _READS.put(text, len(bound) + 1)
        except apsw.Error as error:
            raise self._failure(error, execution) from error
        except UnicodeDecodeError as error:
            raise JsException(NOT_UTF8) from error
        if cursor.is_live:
            self._track(cursor)
        return cursor

    def close_cursors(self) -> None:
        """Close every cursor that is still reading."""
        for reference in tuple(self._open.values()):
            cursor = reference()
            if cursor is not None:
                cursor.close(DATABASE_DELETED)
        self._open.clear()

    def _check(self) -> None:
        self._check_access()
        if not self._is_enabled:
            raise JsException(NOT_ENABLED)

    def _failure(self, error: apsw.Error, execution: _Execution) -> JsException:
        if isinstance(error, apsw.BindingsError):
            return JsException(execution.bindings_problem())
        failure = self._database.failed(error)
        if isinstance(error, apsw.TooBigError) and execution.is_too_long:
            return JsException(STATEMENT_TOO_LONG)
        if _NEAR_LIMIT.match(failure.message) and _UPDATE_OR_DELETE.match(execution.rest):
            return JsException(NO_UPDATE_LIMIT + failure.message)
        return failure

    def _track(self, cursor: SqlStorageCursor) -> None:
        self._opened += 1
        number = self._opened
        # Both forget the cursor; to the one the reference itself is given, as a default that nobody reads.
        self._open[number] = weakref.ref(cursor, partial(self._open.pop, number))
        cursor.on_end = partial(self._open.pop, number, None)
        cursor.check_access = self._check_access
        if len(self._open) > CURSORS_MAX:
            oldest = self._open.pop(next(iter(self._open)))()
            if oldest is not None:
                oldest.close(TOO_MANY_CURSORS)


class _Execution:
    """One call of `exec`: where in its text it is, and what is known of the last statement."""

    __slots__ = (
        "_bindings",
        "_database",
        "_is_readonly",
        "_position",
        "_statement",
        "_text",
        "_transactions",
        "_wants_file",
        "is_last",
    )

    def __init__(
        self,
        database: Database,
        transactions: Transactions,
        text: str,
        bindings: Sequence[Binding],
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._text = text
        self._bindings = bindings
        self._position = 0
        self._restart()

    @property
    def rest(self) -> str:
        """The text from the statement that is to run next."""
        return self._text[self._position :]

    @property
    def is_too_long(self) -> bool:
        """Whether that text is longer than SQLite may compile."""
        return len(self.rest.encode()) > SQL_BYTES_MAX

    @property
    def is_one_read(self) -> bool:
        """Whether what ran was one statement that reads, and no PRAGMA: some of those change something."""
        return (
            self._is_readonly
            and self._statement == self._text
            and _PRAGMA.match(self._text) is None
        )

    def read(self) -> SqlStorageCursor:
        """Run a text of which `is_one_read` was said. Raises: apsw.Error, JsException."""
        database = self._database
        authorizer = database.authorizer
        cursor = database.user_connection().cursor()
        self._statement = self._text
        authorizer.is_user = True
        try:
            cursor.execute(self._text, self._bindings)
            first = next(cursor, None)
            names = self._column_names(cursor, first)
        finally:
            authorizer.is_user = False
        return SqlStorageCursor.live(database, cursor, names, first)

    def run(self) -> SqlStorageCursor:
        """Run all statements. Raises: apsw.Error, JsException."""
        try:
            return self._run(self._database.user_connection())
        except apsw.ExecTraceAbort:
            if not self._wants_file:
                raise
        # The object had no file, and a statement wants one. What ran before it only read.
        self._database.ensure_file()
        self._restart()
        return self._run(self._database.user_connection())

    def trace(self, cursor: apsw.Cursor, statement: str, bindings: apsw.Bindings | None) -> bool:
        """Check one statement before it runs; apsw calls this."""
        if not cursor.has_vdbe:
            if self._position and not statement.strip(_WHITESPACE):
                return True
            raise JsException(NO_STATEMENT)
        following = self._position + len(statement)
        self.is_last = following >= len(self._text)
        count = cursor.bindings_count
        if not self.is_last and count:
            raise JsException(ONLY_LAST_HAS_PARAMETERS)
        if self.is_last and count != len(self._bindings):
            raise JsException(WRONG_BINDINGS)
        self._is_readonly = cursor.is_readonly
        if not self._prepare(statement):
            return False
        self._statement = statement
        self._position = following
        return True

    def bindings_problem(self) -> str:
        """Return the message for bindings that SQLite could not give to the next statement."""
        for count in range(1, _BINDINGS_MAX + 1):
            try:
                statement, _ = self._look_at(self.rest, (None,) * count)
            except apsw.BindingsError:
                continue
            is_last = len(statement) >= len(self.rest)
            return WRONG_BINDINGS if is_last else ONLY_LAST_HAS_PARAMETERS
        return WRONG_BINDINGS

    def _restart(self) -> None:
        self._position = 0
        self._statement = ""
        self._is_readonly = True
        self._wants_file = False
        self.is_last = False

    def _prepare(self, statement: str) -> bool:
        """Open the transaction if the statement writes; return whether it can run on this connection."""
        pragma = _PRAGMA_SET.match(statement) if self._is_readonly else None
        is_setting = pragma is not None and pragma[1].lower() in PRAGMAS_OF_A_BOOLEAN
        if self._is_readonly and not is_setting:
            return True
        if not self._database.exists:
            self._wants_file = True
            return False
        if renames_to_internal(statement):
            raise JsException("not authorized: SQLITE_AUTH")
        # Deferring foreign keys lasts until the next COMMIT, so it belongs to the transaction;
        # other settings (foreign_keys above all) work only outside of one.
        if not is_setting or (pragma is not None and pragma[1].lower() == "defer_foreign_keys"):
            self._as_host(self._transactions.before_write)
        return True

    def _as_host(self, action: Callable[[], None]) -> None:
        authorizer = self._database.authorizer
        authorizer.is_user = False
        try:
            action()
        finally:
            authorizer.is_user = True

    def _run(self, connection: apsw.Connection) -> SqlStorageCursor:
        authorizer = self._database.authorizer
        cursor = connection.cursor()
        cursor.exec_trace = self.trace
        changes = connection.total_changes()
        authorizer.is_user = True
        try:
            cursor.execute(self._text, self._bindings)
            first = self._first_row(cursor)
            names = self._column_names(cursor, first)
            rows = [] if first is None or self._is_readonly else [first, *cursor.fetchall()]
        finally:
            authorizer.is_user = False
            cursor.exec_trace = None
        written = connection.total_changes() - changes
        if self._is_readonly:
            return SqlStorageCursor.live(self._database, cursor, names, first)
        return SqlStorageCursor.finished(self._database, names, rows, rows_written=written)

    def _first_row(self, cursor: apsw.Cursor) -> Row | None:
        row: Row
        for row in cursor:
            if self.is_last:
                return row
        return None

    def _column_names(self, cursor: apsw.Cursor, first: Row | None) -> tuple[str, ...]:
        # Only after the first step: until then a cached statement has the names of an older schema.
        if first is not None:
            return tuple([column[0] for column in cursor.get_description()])
        if not self._is_readonly:
            text = self._statement.lower()
            if "returning" not in text and "pragma" not in text:
                return ()
        return self._look_at(self._statement, self._bindings)[1]

    def _look_at(self, text: str, bindings: Sequence[Binding]) -> tuple[str, tuple[str, ...]]:
        """Compile the first statement of `text` without running it; return it and its columns."""
        seen: list[tuple[str, tuple[str, ...]]] = []

        def look(cursor: apsw.Cursor, statement: str, bindings: apsw.Bindings | None) -> bool:
            names = tuple([column[0] for column in cursor.get_description()])
            seen.append((statement, names))
            return False

        cursor = self._database.user_connection().cursor()
        cursor.exec_trace = look
        authorizer = self._database.authorizer
        was_user, authorizer.is_user = authorizer.is_user, True
        try:
            cursor.execute(text, bindings)
        except apsw.ExecTraceAbort:
            pass
        finally:
            authorizer.is_user = was_user
            cursor.close()
        return seen[0]


def _bound(value: object) -> Binding:
    """Return a parameter as Cloudflare binds it: numbers always as REAL, booleans as text."""
    if value is None or type(value) is float:
        return value
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if isinstance(value, JsBigInt) or not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            raise JsTypeError("Cannot convert a BigInt value to a number")
        return float(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    if isinstance(value, tuple | bytearray):
        raise TypeError(f"{type(value)} cannot be sent over RPC.")
    raise JsTypeError(f"A value of type {type(value).__name__} can't be bound to an SQL parameter.")
