"""A D1 database as Worker code holds it: `await env.DB.prepare("SELECT …").bind(1).all()`.

Every request waits for the output gate: whether it changes something is not known before it is compiled.
Numbers are bound as REAL, as JavaScript's are. Values go in and out as D1's JSON carries them: a BLOB
comes back as a list of its bytes, and what is infinite is NULL. SQLite's messages come behind `D1_ERROR: `.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from workers.values import SAFE_INTEGER_MAX, JsDict

from dohost.clock import Clock
from dohost.errors import HostError, JsException
from dohost.simulators.d1_store import D1Store
from dohost.simulators.outlet import Outlet
from dohost.simulators.text import Options, options_of, text_of, well_formed
from dohost.storage.connection import SQLiteValue
from dohost.storage.d1 import D1Query, D1Result

Shaped = TypeVar("Shaped")
NO_STATEMENTS = "No SQL statements detected."
FIRST_PRIMARY = "first-primary"
FIRST_UNCONSTRAINED = "first-unconstrained"
_COMMENT_LINE = re.compile(r"^\s+--.*", re.MULTILINE)


class D1Database:
    """One database."""

    def __init__(self, store: D1Store, *, outlet: Outlet, clock: Clock) -> None:
        self._requests = _Requests(store, outlet, clock, noted=lambda: None)

    def prepare(self, query: str) -> D1PreparedStatement:
        """Make a statement that is compiled when it runs."""
        return D1PreparedStatement(self._requests, _text(query))

    def batch(self, statements: Sequence[D1PreparedStatement]) -> Awaitable[list[JsDict]]:
        """Run statements as one transaction: all of them or, if one fails, none."""
        return self._requests.batch(statements)

    def exec(self, query: str) -> Awaitable[JsDict]:
        """Run SQL text without parameters; each line is counted as one statement."""
        return self._requests.execute_lines(_text(query))

    def withSession(self, constraint: str = FIRST_UNCONSTRAINED) -> D1DatabaseSession:
        """Begin a session; there is one copy of the data here, so every session sees everything."""
        return D1DatabaseSession(self._requests, constraint)

    def dump(self) -> Awaitable[object]:
        """Refuse, as Cloudflare does for every database of today."""
        raise JsException("D1_DUMP_ERROR: Status + 404")

    def __repr__(self) -> str:
        return "<D1Database>"


class D1DatabaseSession:
    """Statements that see what the ones before them did."""

    def __init__(self, requests: _Requests, constraint: str) -> None:
        is_rule = constraint in (FIRST_PRIMARY, FIRST_UNCONSTRAINED)
        self._bookmark = None if is_rule else constraint
        self._requests = requests.noting(self._note)

    def prepare(self, query: str) -> D1PreparedStatement:
        """Make a statement that is compiled when it runs."""
        return D1PreparedStatement(self._requests, _text(query))

    def batch(self, statements: Sequence[D1PreparedStatement]) -> Awaitable[list[JsDict]]:
        """Run statements as one transaction."""
        return self._requests.batch(statements)

    def getBookmark(self) -> str | None:
        """Return the point up to which this session has seen the database; None before its first query."""
        return self._bookmark

    def _note(self) -> None:
        self._bookmark = self._requests.bookmark()


class D1PreparedStatement:
    """SQL text and its parameters; immutable."""

    def __init__(
        self, requests: _Requests, sql: str, parameters: tuple[SQLiteValue, ...] = ()
    ) -> None:
        self._requests = requests
        self.query = D1Query(sql=sql, parameters=parameters)

    def bind(self, *values: object) -> D1PreparedStatement:
        """Return this statement with parameters. Raises: JsException for types that D1 doesn't take."""
        bound = tuple([_bound(value) for value in values])
        return D1PreparedStatement(self._requests, self.query.sql, bound)

    def run(self) -> Awaitable[JsDict]:
        """Give `success`, `meta` and `results`, the rows as dicts."""
        return self._requests.one(self.query, _full_result)

    all = run

    def first(self, column: str | None = None) -> Awaitable[object]:
        """Give the first row, or one column of it; None if there is no row."""

        def pick(result: D1Result, duration_ms: float) -> object:
            rows = _objects(result)
            if not rows or column is None:
                return rows[0] if rows else None
            if column not in rows[0]:
                raise JsException(f"D1_COLUMN_NOTFOUND: Column not found ({column})")
            return rows[0][column]

        return self._requests.one(self.query, pick)

    def raw(self, options: object = None, /, **named: object) -> Awaitable[list[list[object]]]:
        """Give the rows as lists of values; with `columnNames`, the names as the first of them."""
        given: Options = options_of(options, named)

        def rows(result: D1Result, duration_ms: float) -> list[list[object]]:
            head: list[list[object]] = [list(result.columns)] if given.get("columnNames") else []
            return head + [[_value(value) for value in row] for row in result.rows]

        return self._requests.one(self.query, rows)

    def __repr__(self) -> str:
        return f"<D1PreparedStatement {self.query.sql!r}>"


class _Requests:
    """Sends queries to the store and gives its answers their shape."""

    def __init__(
        self, store: D1Store, outlet: Outlet, clock: Clock, *, noted: Callable[[], None]
    ) -> None:
        self._store = store
        self._outlet = outlet
        self._clock = clock
        self._noted = noted

    def noting(self, noted: Callable[[], None]) -> _Requests:
        """Return the same, with another one to tell of each answered request."""
        return _Requests(self._store, self._outlet, self._clock, noted=noted)

    def bookmark(self) -> str:
        """Return the bookmark of now, in Cloudflare's shape: four groups of hex digits."""
        return f"{0:08x}-{self._store.requests:08x}-{0:08x}-{0:032x}"

    def one(self, query: D1Query, shape: Callable[[D1Result, float], Shaped]) -> Awaitable[Shaped]:
        """Run one query and give what `shape` makes of it and of its milliseconds."""

        async def run() -> Shaped:
            began_s = self._clock.monotonic()
            results = await self._run([query], "D1_ERROR: ")
            return shape(results[0], (self._clock.monotonic() - began_s) * 1000)

        return self._outlet.write(run)

    def batch(self, statements: Sequence[D1PreparedStatement]) -> Awaitable[list[JsDict]]:
        """Run statements as one transaction and give a result for each."""
        queries = [statement.query for statement in statements]

        async def run() -> list[JsDict]:
            began_s = self._clock.monotonic()
            results = await self._run(queries, "D1_ERROR: ")
            duration_ms = (self._clock.monotonic() - began_s) * 1000
            return [_full_result(result, duration_ms) for result in results]

        return self._outlet.write(run)

    def execute_lines(self, text: str) -> Awaitable[JsDict]:
        """Run each line of a text and give how many there were."""
        lines = text.strip().split("\n")

        async def run() -> JsDict:
            began_s = self._clock.monotonic()
            results = await self._run(
                [D1Query(sql=line) for line in lines],
                f"D1_EXEC_ERROR: Error in line 1: {lines[0]}: ",
            )
            duration_ms = (self._clock.monotonic() - began_s) * 1000
            return JsDict(count=len(results), duration=duration_ms)

        return self._outlet.write(run)

    async def _run(self, queries: Sequence[D1Query], prefix: str) -> list[D1Result]:
        queries = [query for query in queries if _COMMENT_LINE.sub("", query.sql).strip()]
        if not queries:
            raise JsException(prefix + NO_STATEMENTS)
        try:
            results = await self._store.run(queries)
        except (JsException, HostError) as error:
            reason = error.message if isinstance(error, JsException) else str(error)
            told = JsException(prefix + reason)
            told.code = error.code
            raise told from error
        self._noted()
        return results


def _text(query: object) -> str:
    if not isinstance(query, str):
        raise JsException(f"D1_ERROR: SQL must be a string, not {type(query).__name__}.")
    return well_formed(query)


def _bound(value: object) -> SQLiteValue:
    match value:
        case None:
            return None
        case bool():
            return float(value)
        case str():
            return well_formed(value)
        case int():
            if abs(value) > SAFE_INTEGER_MAX:
                raise _unsupported("bigint", str(value))
            return float(value)
        case float():
            return value if math.isfinite(value) else None
        case bytes() | memoryview():
            return bytes(value)
        case list() if all(isinstance(item, int) and 0 <= item <= 255 for item in value):
            return bytes(value)
        case tuple() | bytearray():
            raise TypeError(f"{type(value)} cannot be sent over RPC.")
        case _:
            kind = "function" if callable(value) else "object"
            raise _unsupported(kind, text_of(value))


def _unsupported(kind: str, text: str) -> JsException:
    return JsException(f"D1_TYPE_ERROR: Type '{kind}' not supported for value '{text}'")


def _full_result(result: D1Result, duration_ms: float) -> JsDict:
    meta = JsDict(
        served_by="dohost",
        duration=duration_ms,
        changes=result.changes,
        last_row_id=result.last_row_id,
        changed_db=result.changed_db,
        size_after=result.size_after,
        rows_read=len(result.rows),
        rows_written=result.changes,
    )
    return JsDict(success=True, meta=meta, results=_objects(result))


def _objects(result: D1Result) -> list[JsDict]:
    names = result.columns
    return [
        JsDict(zip(names, [_value(value) for value in row], strict=True)) for row in result.rows
    ]


def _value(value: SQLiteValue) -> object:
    match value:
        case bytes():
            return list(value)
        case int():
            return value if abs(value) <= SAFE_INTEGER_MAX else int(float(value))
        case float() if not math.isfinite(value):
            return None
        case float() if value.is_integer() and abs(value) <= SAFE_INTEGER_MAX:
            return int(value)
        case _:
            return value
