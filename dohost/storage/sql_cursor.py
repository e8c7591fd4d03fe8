"""The result of `sql.exec`: rows in the shape that Worker code reads them.

A live cursor is one row ahead: it ends, and gives up its lock on the tables, when the last row is
handed out and not one call later. Integers beyond 2^53 are rounded as JavaScript's doubles are, BLOBs
come out as `memoryview`. `raw()` shares the position of its cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import apsw
from workers.values import SAFE_INTEGER_MAX, JsDict

from dohost.errors import JsException
from dohost.storage.connection import Row, SQLiteValue
from dohost.storage.database import Database

Read = TypeVar("Read")

NO_RESULTS = "Expected exactly one result from SQL query, but got no results."
NOT_UTF8 = "A text in the result is not UTF-8; read it as a BLOB: CAST(… AS BLOB)."
MULTIPLE_RESULTS = "Expected exactly one result from SQL query, but got multiple results."


class SqlStorageCursor:
    """Rows of one statement, read once from first to last."""

    def __init__(self, database: Database, names: tuple[str, ...], following: Row | None) -> None:
        self._database = database
        self._names = names
        self._following = following
        self._rows: Iterator[Row] = iter(())
        self._live: apsw.Cursor | None = None
        self._closed_because: str | None = None
        # Set on a cursor that is live, by whoever keeps count of those.
        self.check_access: Callable[[], None] | None = None
        self.on_end: Callable[[], object] | None = None
        self.rowsRead = 0 if following is None else 1
        self.rowsWritten = 0

    @classmethod
    def live(
        cls, database: Database, source: apsw.Cursor, names: tuple[str, ...], first: Row | None
    ) -> SqlStorageCursor:
        """Make a cursor of a statement that is still running and stands behind its first row."""
        cursor = cls(database, names, first)
        if first is not None:
            cursor._live = source
        return cursor

    @classmethod
    def finished(
        cls, database: Database, names: tuple[str, ...], rows: list[Row], *, rows_written: int
    ) -> SqlStorageCursor:
        """Make a cursor of a statement that ran to its end."""
        remaining = iter(rows)
        cursor = cls(database, names, next(remaining, None))
        cursor._rows = remaining
        cursor.rowsRead = len(rows)
        cursor.rowsWritten = rows_written
        return cursor

    def __repr__(self) -> str:
        status = "open" if self._following is not None else "done"
        return f"<SqlStorageCursor {status}, {self.rowsRead} rows read>"

    @property
    def columnNames(self) -> list[str]:
        """Names of the columns, also after the end; not necessarily distinct."""
        return list(self._names)

    @property
    def is_live(self) -> bool:
        """Whether the statement is still running."""
        return self._live is not None

    def __iter__(self) -> SqlStorageCursor:
        return self

    def __next__(self) -> JsDict:
        row = self._take()
        if row is None:
            raise StopIteration
        return JsDict(zip(self._names, _values(row), strict=True))

    def next(self) -> JsDict:
        """Return {done: False, value: row}, or {done: True} after the last row."""
        return _step(next(self, None))

    def toArray(self) -> list[JsDict]:
        """Return all rows that are left."""
        names = self._names
        return [JsDict(zip(names, _values(row), strict=True)) for row in self._take_all()]

    def one(self) -> JsDict:
        """Return the only row that is left. Raises: JsException if there is none, or another one."""
        row = self._take()
        if row is None:
            raise JsException(NO_RESULTS)
        if self._following is not None:
            self._end()
            raise JsException(MULTIPLE_RESULTS)
        return JsDict(zip(self._names, _values(row), strict=True))

    def raw(self) -> RawRows:
        """Return the rows that are left as lists of values, without names."""
        return RawRows(self)

    def take_values(self) -> list[object] | None:
        """Return the next row as a list, or None after the last."""
        row = self._take()
        return None if row is None else _values(row)

    def take_all_values(self) -> list[list[object]]:
        """Return all rows that are left as lists."""
        return [_values(row) for row in self._take_all()]

    def close(self, reason: str) -> None:
        """Stop reading; a later attempt to read on raises an error that says `reason`."""
        if self._live is not None:
            self._closed_because = reason
            self._end()

    def _take(self) -> Row | None:
        row = self._take_first()
        if row is not None:
            self._following = next(self._rows, None) if self._live is None else self._step()
        return row

    def _step(self) -> Row | None:
        live = self._live
        assert live is not None, "only a running statement has steps"
        row = self._read(lambda: next(live, None))
        if row is None:
            self._end()
        else:
            self.rowsRead += 1
        return row

    def _take_all(self) -> list[Row]:
        first = self._take_first()
        if first is None:
            return []
        if self._live is None:
            rows = [first, *self._rows]
        else:
            # No code of the user's runs between two of these rows.
            rows = [first, *self._read(self._live.fetchall)]
            self.rowsRead += len(rows) - 1
        self._end()
        return rows

    def _take_first(self) -> Row | None:
        """Return the row that is at hand, and have none at hand."""
        if self._closed_because is not None:
            raise JsException(self._closed_because)
        row, self._following = self._following, None
        return row

    def _read(self, read: Callable[[], Read]) -> Read:
        """Let SQLite go on with a running statement; if it fails, that is the cursor's end."""
        if self.check_access is not None:
            self.check_access()
        authorizer = self._database.authorizer
        authorizer.is_user = True  # SQLite may compile the statement again in any step
        try:
            return read()
        except apsw.Error as error:
            authorizer.is_user = False
            self._end()
            raise self._database.failed(error) from error
        except UnicodeDecodeError as error:
            self._end()
            raise JsException(NOT_UTF8) from error
        finally:
            authorizer.is_user = False

    def _end(self) -> None:
        self._following = None
        self._rows = iter(())
        live, self._live = self._live, None
        if live is not None:
            live.close(True)
        if self.on_end is not None:
            self.on_end()


class RawRows:
    """The rows that a cursor has left, as lists of values."""

    def __init__(self, cursor: SqlStorageCursor) -> None:
        self._cursor = cursor

    def __repr__(self) -> str:
        return f"<RawRows of {self._cursor!r}>"

    @property
    def columnNames(self) -> list[str]:
        """Names of the columns."""
        return self._cursor.columnNames

    def __iter__(self) -> RawRows:
        return self

    def __next__(self) -> list[object]:
        values = self._cursor.take_values()
        if values is None:
            raise StopIteration
        return values

    def next(self) -> JsDict:
        """Return {done: False, value: list}, or {done: True} after the last row."""
        return _step(next(self, None))

    def toArray(self) -> list[list[object]]:
        """Return all rows that are left."""
        return self._cursor.take_all_values()


def _step(value: object) -> JsDict:
    return JsDict(done=True, value=None) if value is None else JsDict(done=False, value=value)


def _values(row: Row) -> list[object]:
    return [
        value if type(value) is str or value is None else _value(value)  # most are text or NULL
        for value in row
    ]


def _value(value: SQLiteValue) -> object:
    if isinstance(value, int):
        return value if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX else float(value)
    if isinstance(value, float):
        is_integer = value.is_integer() and -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX
        return int(value) if is_integer else value
    return memoryview(value) if isinstance(value, bytes) else value
