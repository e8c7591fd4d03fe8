"""The host's own file: which objects exist, by name, and when their alarms are due.

`<persist>/catalog.sqlite`, through aiosqlite (its fsyncs belong in a thread, and an object's file is
never opened by this library). An object's row is durable before the object's first acknowledged
write, and written after its file is durable: so a damaged file that is not known here has never
acknowledged anything. Its alarm's due time is durable here before anything that depends on `setAlarm` leaves the
object, so a restart needs no scan of files: the index is never later than the object's own alarm,
which is the truth; an index that is too early is corrected when the object starts.

Changes that arrive while a transaction is written share the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType

import aiosqlite
import msgspec

from dohost.errors import StorageFailure
from dohost.runtime.tasks import spawn

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS objects (
         unique_key TEXT NOT NULL, object_id TEXT NOT NULL, name TEXT, created_ms INTEGER NOT NULL,
         PRIMARY KEY (unique_key, object_id)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS alarms (
         unique_key TEXT NOT NULL, object_id TEXT NOT NULL, name TEXT, due_ms INTEGER NOT NULL,
         PRIMARY KEY (unique_key, object_id)) STRICT, WITHOUT ROWID""",
)
ADD_OBJECT = (
    "INSERT INTO objects (unique_key, object_id, name, created_ms) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET name = coalesce(excluded.name, name)"
)
SET_ALARM = (
    "INSERT INTO alarms (unique_key, object_id, name, due_ms) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET due_ms = excluded.due_ms, name = coalesce(excluded.name, name)"
)
FIND_ALARM = (
    "INSERT INTO alarms (unique_key, object_id, name, due_ms) VALUES (?, ?, ?, ?) ON CONFLICT "
    "DO UPDATE SET due_ms = min(due_ms, excluded.due_ms), name = coalesce(excluded.name, name)"
)
KNOWS_OBJECT = "SELECT 1 FROM objects WHERE unique_key = ? AND object_id = ?"
KNOWS_FACETS = (
    "SELECT 1 FROM objects WHERE unique_key = ?1 "
    "AND object_id > ?2 || '.' AND object_id < ?2 || '/' LIMIT 1"
)
# Facets are objects inside others, and their ids show it.
COUNT_OBJECTS = (
    "SELECT unique_key, count(*) FROM objects WHERE instr(object_id, '.') = 0 GROUP BY unique_key"
)
CLEAR_ALARM = "DELETE FROM alarms WHERE unique_key = ? AND object_id = ?"

# A facet's id is its root's with a number behind it: a forgotten object's facets are forgotten, too.
FORGET_OBJECT = (
    "DELETE FROM objects WHERE unique_key = ?1 AND "
    "(object_id = ?2 OR (object_id > ?2 || '.' AND object_id < ?2 || '/'))"
)
FORGET_ROW = "DELETE FROM objects WHERE unique_key = ? AND object_id = ?"
FORGET_OBJECTS = "DELETE FROM objects WHERE unique_key = ?"
FORGET_ALARMS = "DELETE FROM alarms WHERE unique_key = ?"


class ObjectKey(msgspec.Struct, frozen=True):
    """What names one object on this host: its namespace's unique key, its id, and its name if known."""

    unique_key: str
    object_id: str
    name: str | None = None

    @property
    def address(self) -> tuple[str, str]:
        """The identity without the name, for use as a dictionary key."""
        return (self.unique_key, self.object_id)


Row = tuple[str | int | None, ...]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the files say: objects and when they were made, alarms and when they are due, both in ms.

    `forgotten`: which files can't be trusted, with the reason.
    """

    objects: list[tuple[ObjectKey, int]]
    alarms: list[tuple[ObjectKey, int]]
    forgotten: list[str]


class Changes:
    """What the next transaction writes; of several changes to one alarm the last one counts."""

    __slots__ = ("alarms", "durable", "forgotten", "namespaces", "objects")

    def __init__(self, durable: asyncio.Future[None]) -> None:
        self.namespaces: list[Row] = []
        self.forgotten: list[Row] = []
        self.objects: list[Row] = []
        self.alarms: dict[tuple[str, str], Row | None] = {}
        self.durable = durable

    def statements(self) -> list[tuple[str, list[Row]]]:
        """Return what to execute, each statement once for all its rows."""
        alarms = self.alarms
        grouped: list[tuple[str, list[Row]]] = [
            (FORGET_OBJECTS, self.namespaces),
            (FORGET_ALARMS, self.namespaces),
            (FORGET_OBJECT, self.forgotten),
            (ADD_OBJECT, self.objects),
            (SET_ALARM, [row for row in alarms.values() if row is not None]),
            (CLEAR_ALARM, [address for address, row in alarms.items() if row is None]),
        ]
        return [(sql, rows) for sql, rows in grouped if rows]


class Catalog:
    """Reads at start, then only writes, in groups."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._loop = loop
        self._connection: aiosqlite.Connection | None = None
        self._pending: Changes | None = None
        self._writer: asyncio.Task[object] | None = None
        self._writing = asyncio.Lock()
        self._learning = asyncio.Lock()
        # What was recorded since `learn` has begun to read.
        self._meanwhile: list[Changes] | None = None
        # Whether it was there when it was opened, and not made then.
        self.was_there = False

    async def __aenter__(self) -> Catalog:
        # SQLite makes the log and its index with the rights of the file, whatever the umask.
        self._path.touch(mode=0o600)
        self._path.chmod(0o600)
        connection = await aiosqlite.connect(self._path, isolation_level=None)
        self._connection = connection
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = FULL")
        tables = await connection.execute_fetchall("SELECT name FROM sqlite_schema")
        self.was_there = any(name == "objects" for (name,) in tables)
        for statement in SCHEMA:
            await connection.execute(statement)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._writer is not None:
            await self._writer
        if self._connection is not None:
            await self._connection.close()

    @property
    def is_writing(self) -> bool:
        """Whether a change is on its way to the disk."""
        return self._writer is not None

    async def alarms(self) -> list[tuple[ObjectKey, int]]:
        """Return every indexed alarm: the object and the due time in ms since the epoch."""
        assert self._connection is not None, "the catalog is open"
        rows = await self._connection.execute_fetchall(
            "SELECT unique_key, object_id, name, due_ms FROM alarms"
        )
        return [(ObjectKey(row[0], row[1], row[2]), row[3]) for row in rows]

    async def objects(self, unique_key: str) -> list[ObjectKey]:
        """Return the known objects of one namespace, by name and id; not their facets."""
        assert self._connection is not None, "the catalog is open"
        rows = await self._connection.execute_fetchall(
            "SELECT unique_key, object_id, name FROM objects WHERE unique_key = ? "
            "AND instr(object_id, '.') = 0 "
            "ORDER BY name IS NULL, name, object_id",
            (unique_key,),
        )
        return [ObjectKey(row[0], row[1], row[2]) for row in rows]

    async def all_objects(self) -> list[ObjectKey]:
        """Return every known object and facet."""
        assert self._connection is not None, "the catalog is open"
        rows = await self._connection.execute_fetchall(
            "SELECT unique_key, object_id, name FROM objects"
        )
        return [ObjectKey(row[0], row[1], row[2]) for row in rows]

    def object_counts(self) -> dict[str, int]:
        """Return how many objects each namespace has, facets left out; blocks. Raises: StorageFailure."""
        return dict(msgspec.convert(self._read(COUNT_OBJECTS, ()), list[tuple[str, int]]))

    def knows(self, key: ObjectKey) -> bool:
        """Return whether the object is recorded; blocks, for the rare case of a damaged file.

        Raises: StorageFailure.
        """
        return self._finds(KNOWS_OBJECT, key)

    def knows_facets(self, key: ObjectKey) -> bool:
        """Return whether any facet of the object is recorded; blocks as well. Raises: StorageFailure."""
        return self._finds(KNOWS_FACETS, key)

    def _finds(self, query: str, key: ObjectKey) -> bool:
        return bool(self._read(query, key.address))

    def _read(self, query: str, bindings: tuple[str, ...]) -> list[Row]:
        try:
            with contextlib.closing(sqlite3.connect(self._path)) as connection:
                return connection.execute(query, bindings).fetchall()
        except sqlite3.Error as error:
            raise StorageFailure(
                f"{self._path} could not be read ({error})", outcome="not-applied"
            ) from error

    def add_object(self, key: ObjectKey, *, created_ms: int) -> asyncio.Future[None]:
        """Record that `key` exists; the future is done when that is durable."""
        changes = self._next()
        changes.objects.append((*key.address, key.name, created_ms))
        return changes.durable

    def set_alarm(self, key: ObjectKey, due_ms: int) -> asyncio.Future[None]:
        """Index an alarm; the future is done when that is durable."""
        changes = self._next()
        changes.alarms[key.address] = (*key.address, key.name, due_ms)
        return changes.durable

    def clear_alarm(self, key: ObjectKey) -> asyncio.Future[None]:
        """Forget an alarm; harmless if it is forgotten late."""
        changes = self._next()
        changes.alarms[key.address] = None
        return changes.durable

    def forget_object(self, key: ObjectKey) -> asyncio.Future[None]:
        """Forget an object and its alarm; the future is done when that is durable."""
        changes = self._next()
        changes.forgotten.append(key.address)
        changes.alarms[key.address] = None
        return changes.durable

    async def learn(self, read: Callable[[], Awaitable[Found]]) -> Found:
        """Know what `read` finds, which is returned, and forget the known objects that it doesn't find.

        What is recorded meanwhile stays, and an alarm goes to no later time: its row is there before its
        object's file says it. Raises: StorageFailure, and what `read` raises.
        """
        async with self._learning:
            async with self._writing:
                known = await self.all_objects()
                self._meanwhile = []
            try:
                found = await read()
                there = {key.address for key, _ in found.objects}
                gone: list[Row] = [key.address for key in known if key.address not in there]
                async with self._writing:
                    await self._apply(
                        [
                            (FORGET_ROW, gone),
                            (CLEAR_ALARM, gone),
                            (ADD_OBJECT, [(*key.address, key.name, n) for key, n in found.objects]),
                            (FIND_ALARM, [(*key.address, key.name, n) for key, n in found.alarms]),
                            *(each for made in self._meanwhile for each in made.statements()),
                        ]
                    )
            except (aiosqlite.Error, OSError) as error:
                raise self._failure(error) from error
            finally:
                self._meanwhile = None
            return found

    def forget_namespace(self, unique_key: str) -> asyncio.Future[None]:
        """Forget every object and alarm of a namespace; the future is done when that is durable."""
        changes = self._next()
        changes.namespaces.append((unique_key,))
        return changes.durable

    def _next(self) -> Changes:
        if self._pending is None:
            durable = self._loop.create_future()
            # Who does not need to wait does not; a failure then shows in those who do.
            durable.add_done_callback(_retrieve)
            self._pending = Changes(durable)
            if self._writer is None:
                self._writer = spawn(self._loop, self._drain(), name="catalog")
        return self._pending

    async def _drain(self) -> None:
        try:
            while self._pending is not None:
                changes, self._pending = self._pending, None
                try:
                    async with self._writing:
                        if self._meanwhile is not None:
                            self._meanwhile.append(changes)
                        await self._transact(changes)
                except (aiosqlite.Error, OSError) as error:
                    failure = self._failure(error)
                    failure.__cause__ = error
                    changes.durable.set_exception(failure)
                else:
                    changes.durable.set_result(None)
        finally:
            self._writer = None

    async def _transact(self, changes: Changes) -> None:
        await self._apply(changes.statements())

    async def _apply(self, statements: Sequence[tuple[str, list[Row]]]) -> None:
        assert self._connection is not None, "the catalog is open"
        await self._connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, rows in statements:
                await self._connection.executemany(sql, rows)
            await self._connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself; a transaction left open would fail every later one.
            if self._connection.in_transaction:
                await self._connection.execute("ROLLBACK")
            raise

    def _failure(self, error: Exception) -> StorageFailure:
        return StorageFailure(
            f"{self._path} could not be written ({error}); whether what was to be recorded there "
            "survives a restart is unknown",
            outcome="unknown",
        )


async def open_catalog(path: Path, loop: asyncio.AbstractEventLoop) -> Catalog:
    """Open the file, making it if there is none. Raises: StorageFailure; then nothing is left open."""
    catalog = Catalog(path, loop)
    try:
        return await catalog.__aenter__()
    except (aiosqlite.Error, OSError) as error:
        await catalog.__aexit__(None, None, None)
        raise StorageFailure(f"{path} can't be used: {error}", outcome="not-applied") from error


def _retrieve(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()
