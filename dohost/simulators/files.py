"""One SQLite file of a simulator: opened at its first use, changed by one transaction at a time.

aiosqlite runs each file in a thread of its own, so an fsync never holds the loop; a transaction that has
returned is on the disk (WAL, synchronous = FULL). Files and directories are private to the user. A file that
was deleted or replaced meanwhile is opened anew: nothing is acknowledged that nobody will find again.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import aiosqlite

from dohost.simulators.failures import failed_file
from dohost.storage.directories import make_directory
from dohost.storage.named_file import NamedFile, named_file

Column = str | bytes | int | float | None
Row = tuple[Column, ...]


class SimulatorFile:
    """A file and its one connection."""

    def __init__(self, path: Path, schema: Sequence[str]) -> None:
        self.path = path
        self._schema = schema
        self._connection: aiosqlite.Connection | None = None
        self._named: NamedFile
        self._lock = asyncio.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether its thread works, or a transaction is open."""
        return self._lock.locked()

    async def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return all rows of one reading statement. Raises: HostError."""
        async with self._lock:
            connection = await self._opened()
            with _translated():
                return [tuple(row) for row in await connection.execute_fetchall(sql, parameters)]

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Run a block as one durable transaction; an exception takes all of it back. Raises: HostError."""
        async with self._lock:
            connection = await self._opened()
            try:
                with _translated():
                    await connection.execute("BEGIN IMMEDIATE")
                yield Transaction(connection)
                with _translated(commits=True):
                    await connection.execute("COMMIT")
            except BaseException:
                await self._roll_back(connection)
                raise

    async def close(self) -> None:
        """Close the file when what runs on it has ended; it opens again at the next use."""
        async with self._lock:
            await self._close()

    async def _roll_back(self, connection: aiosqlite.Connection) -> None:
        """Take a transaction back; without a connection nothing of it is left either."""
        try:
            # In the file's thread, after what a cancelled block may have left running there.
            await connection.rollback()
        except sqlite3.Error:
            await self._close()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _opened(self) -> aiosqlite.Connection:
        with _translated():
            if self._connection is not None and not self._named.is_there:
                await self._close()
                await asyncio.to_thread(self._named.remove_log)
            if self._connection is None:
                self._connection = await self._open()
                self._named = named_file(self.path)
        return self._connection

    async def _open(self) -> aiosqlite.Connection:
        await asyncio.to_thread(_create, self.path)
        connection = await aiosqlite.connect(self.path, isolation_level=None)
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
            await connection.execute("PRAGMA synchronous = FULL")
            for statement in self._schema:
                await connection.execute(statement)
        except BaseException:
            await connection.close()
            raise
        return connection


class Transaction:
    """What a block may do inside `SimulatorFile.transaction`."""

    __slots__ = ("_connection",)

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement; return how many rows it changed."""
        with _translated():
            cursor = await self._connection.execute(sql, parameters)
            changed = cursor.rowcount
            await cursor.close()
        return changed

    async def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for each of `rows`."""
        with _translated():
            await self._connection.executemany(sql, rows)

    async def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return all rows of one statement."""
        with _translated():
            return [tuple(row) for row in await self._connection.execute_fetchall(sql, parameters)]


@contextlib.contextmanager
def _translated(*, commits: bool = False) -> Iterator[None]:
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise  # a mistake of ours
    except (sqlite3.DatabaseError, OSError) as error:
        raise failed_file(error, commits=commits) from error


def _create(path: Path) -> None:
    make_directory(path.parent)
    path.touch(mode=0o600, exist_ok=True)


def file_name_of(identity: str) -> str:
    """Return an id of the configuration as a file's name: itself, but for what could leave a directory."""
    return "".join(
        each if each.isalnum() or each in "-_" else f"%{ord(each):02x}" for each in identity
    )
