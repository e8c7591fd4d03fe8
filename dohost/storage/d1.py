"""A D1 database: a SQLite file of the user's own tables, each request one transaction.

The rules are those of `ctx.storage.sql` (authorizer, limits, messages), because on Cloudflare it is the
same engine. Unlike an object's storage it may block: whoever calls does so in a thread, one call at a
time. COMMIT syncs (WAL, synchronous = FULL), so what has returned is on the disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import msgspec

from dohost.errors import JsException
from dohost.storage.authorizer import Authorizer, renames_to_internal
from dohost.storage.connection import SQL_BYTES_MAX, Row, SQLiteValue, set_up
from dohost.storage.directories import make_directory
from dohost.storage.failures import UNKNOWN_OUTCOME, message_of, translate
from dohost.storage.named_file import NamedFile, named_file
from dohost.storage.sql import STATEMENT_TOO_LONG
from dohost.storage.sql_cursor import NOT_UTF8

# Another program, such as wrangler or the sqlite3 shell, may be writing.
BUSY_TIMEOUT_MS = 5000
# D1's own, smaller than an object's.
LENGTH_MAX = 2_200_000
NO_STATEMENT = "SQL code did not contain a statement."


class D1Query(msgspec.Struct, frozen=True, kw_only=True):
    """SQL text, and the parameters of its last statement."""

    sql: str
    parameters: tuple[SQLiteValue, ...] = ()


class D1Result(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a query's last statement, and what the query did to the database."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    changes: int
    last_row_id: int
    changed_db: bool
    size_after: int


class D1File:
    """One database and its connection; opened at the first run, closed by `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: apsw.Connection | None = None
        self._named: NamedFile
        self._authorizer = Authorizer()

    def run(self, queries: Sequence[D1Query]) -> list[D1Result]:
        """Run all queries, or none of them if one fails.

        Raises: JsException with SQLite's message, its code saying what the disk did; OSError.
        """
        try:
            connection = self._opened()
            with self._transaction(connection):
                return [self._query(connection, query) for query in queries]
        except apsw.Error as error:
            raise translate(error) from error
        except UnicodeDecodeError as error:
            raise JsException(NOT_UTF8) from error

    def close(self) -> None:
        """Close the file; the next run opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _opened(self) -> apsw.Connection:
        if self._connection is not None and not self._named.is_there:
            self.close()
            self._named.remove_log()
        if self._connection is None:
            make_directory(self.path.parent)
            self.path.touch(mode=0o600)
            self._connection = self._open()
            self._named = named_file(self.path)
        return self._connection

    def _open(self) -> apsw.Connection:
        # Without a statement cache: the columns of a cached one are those of an older schema.
        connection = apsw.Connection(str(self.path), statementcachesize=0)
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full")
            set_up(connection, strict=False)
            connection.limit(apsw.SQLITE_LIMIT_LENGTH, LENGTH_MAX)
            # Unlike an object's file, it is for other tools: a closed one is whole without its log.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            connection.authorizer = self._authorizer
            # A read opens the log, which `NamedFile` has to know.
            connection.pragma("user_version")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _transaction(self, connection: apsw.Connection) -> Iterator[None]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            _commit(connection)
        except BaseException:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except apsw.Error:
                # Without a connection nothing is left open that the next run would meet.
                self.close()
            raise

    def _query(self, connection: apsw.Connection, query: D1Query) -> D1Result:
        if len(query.sql.encode()) > SQL_BYTES_MAX:
            raise JsException(STATEMENT_TOO_LONG)
        changes, row_id = connection.total_changes(), connection.last_insert_rowid()
        size = _size_bytes(connection)
        columns, rows = self._execute(connection, query)
        changed = connection.total_changes() - changes
        size_after = _size_bytes(connection)
        last_row_id = connection.last_insert_rowid()
        return D1Result(
            columns=columns,
            rows=rows,
            changes=changed,
            last_row_id=last_row_id,
            changed_db=changed != 0 or last_row_id != row_id or size_after != size,
            size_after=size_after,
        )

    def _execute(
        self, connection: apsw.Connection, query: D1Query
    ) -> tuple[tuple[str, ...], tuple[Row, ...]]:
        """Run every statement of a text; return columns and rows of the last one."""
        columns: tuple[str, ...] = ()
        rows: list[Row] = []
        has_statement = False

        def begins(cursor: apsw.Cursor, sql: str, bindings: apsw.Bindings | None) -> bool:
            nonlocal columns, has_statement
            if cursor.has_vdbe:
                if renames_to_internal(sql):
                    raise JsException("not authorized: SQLITE_AUTH")
                has_statement = True
                columns = tuple([column[0] for column in cursor.get_description()])
                rows.clear()
            return True

        cursor = connection.cursor()
        cursor.exec_trace = begins
        self._authorizer.is_user = True
        try:
            for row in cursor.execute(query.sql, query.parameters):
                rows.append(row)  # noqa: PERF402 - cleared while this loop runs
        finally:
            self._authorizer.is_user = False
            cursor.close(True)
        if not has_statement:
            raise JsException(NO_STATEMENT)
        return columns, tuple(rows)


def _commit(connection: apsw.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except apsw.IOError as error:
        failure = JsException(f"{message_of(error)}; {UNKNOWN_OUTCOME}")
        failure.code = "outcome-unknown"
        raise failure from error


def _size_bytes(connection: apsw.Connection) -> int:
    pages: int = connection.pragma("page_count")
    page_bytes: int = connection.pragma("page_size")
    return pages * page_bytes
