"""One crash state and its judgement: open what is left with the product's own code and compare.

A state is right if every object holds a prefix of its history, whole, no shorter than what had been
acknowledged; if the catalog knows each object that has acknowledged anything; if the index of alarms is
never later than an acknowledged alarm; and if an object that had acknowledged nothing can still be used.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from dohost.clock import SeededEntropy
from dohost.errors import DohostError
from dohost.objects.id import IdFactory
from dohost.storage.database import Database, ObjectMeta
from dohost.storage.kv import KeyValue
from dohost.storage.metadata import Metadata
from dohost.storage.opening import open_object
from tests.simulation.cell import CellState, replay
from tests.simulation.traced_run import CELLS, UNIQUE_KEY

USED_EVERY = 16
IDS = {
    IdFactory(UNIQUE_KEY, SeededEntropy(0)).from_name(f"cell-{cell}").toString(): cell
    for cell in range(CELLS)
}


class CrashState(msgspec.Struct, frozen=True, kw_only=True):
    """What is on the disk by path, which of it may hold junk, and what callers had been told."""

    contents: Mapping[str, bytes]
    junk: frozenset[str]
    acknowledged: Mapping[int, int]


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What the product made of a cell's files."""

    history: str = ""
    alarm_ms: int | None = None
    problem: str | None = None
    is_torn: bool = False


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalog says, by object id."""

    objects: frozenset[str] = frozenset()
    alarms: Mapping[str, int] = {}
    problem: str | None = None


class Opener:
    """Opens files; the same bytes only once."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._cells: dict[bytes, Opened] = {}
        self._catalogs: dict[bytes, Index] = {}
        self.opened = 0

    def close(self) -> None:
        """Remove the scratch directory."""
        shutil.rmtree(self._scratch)

    def cell(self, object_id: str, contents: Mapping[str, bytes], path: str) -> Opened:
        """Open one cell whose files are `path` and its log, beside the catalog of the same state."""
        main, wal = contents.get(path), contents.get(f"{path}-wal")
        is_recorded = object_id in self.catalog(contents).objects
        key = _digest(f"{object_id} {is_recorded}".encode(), main, wal)
        found = self._cells.get(key)
        if found is None:
            self.opened += 1
            directory = self._fill({"": main, "-wal": wal}, f"{object_id}.sqlite")
            found = self._cells[key] = self._open_cell(object_id, directory, is_recorded)
        return found

    def catalog(self, contents: Mapping[str, bytes]) -> Index:
        """Open the catalog."""
        path = _catalog_path(contents)
        parts = [contents.get(path + suffix) for suffix in ("", "-wal", "-journal")]
        key = _digest(*parts)
        found = self._catalogs.get(key)
        if found is None:
            self.opened += 1
            found = self._catalogs[key] = self._open_catalog(parts)
        return found

    def histories(self, contents: Mapping[str, bytes]) -> dict[int, str]:
        """Return the history of every cell."""
        return {
            cell: self.cell(object_id, contents, path).history
            for object_id, cell, path in _cells_of(contents)
        }

    def _open_cell(self, object_id: str, path: Path, is_recorded: bool) -> Opened:
        cell = IDS[object_id]
        meta = ObjectMeta(unique_key=UNIQUE_KEY, object_id=object_id, name=f"cell-{cell}")
        try:
            database = open_object(
                path, lambda: Database(path, meta), is_recorded=lambda: is_recorded
            )
        except DohostError as error:
            return Opened(problem=str(error))
        try:
            found = _read(database)
            if self.opened % USED_EVERY == 0 or not found.history:
                found = msgspec.structs.replace(
                    found, is_torn=found.is_torn or not _is_usable(database)
                )
        except (DohostError, ValueError) as error:
            # ValueError: text or JSON that nobody wrote, in a file whose pages are of several times.
            return Opened(problem=str(error))
        finally:
            database.close()
        return found

    def _open_catalog(self, parts: list[bytes | None]) -> Index:
        path = self._fill(dict(zip(("", "-wal", "-journal"), parts, strict=True)), "catalog.sqlite")
        connection = sqlite3.connect(path)
        try:
            objects = connection.execute("SELECT object_id FROM objects").fetchall()
            alarms = connection.execute("SELECT object_id, due_ms FROM alarms").fetchall()
        except sqlite3.Error as error:
            return Index(problem=str(error))
        finally:
            connection.close()
        return Index(objects=frozenset(row[0] for row in objects), alarms=dict(alarms))

    def _fill(self, files: Mapping[str, bytes | None], name: str) -> Path:
        directory = self._scratch / "open"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        for suffix, content in files.items():
            if content is not None:
                (directory / f"{name}{suffix}").write_bytes(content)
        return directory / name


def violations(state: CrashState, opener: Opener, final: Mapping[int, str]) -> Iterator[str]:
    """Yield what is wrong with `state`, each as `kind: facts`."""
    index = opener.catalog(state.contents)
    seen: set[int] = set()
    for object_id, cell, path in _cells_of(state.contents):
        seen.add(cell)
        found = opener.cell(object_id, state.contents, path)
        told = state.acknowledged.get(cell, 0)
        if found.problem is not None:
            if told or not {path, f"{path}-wal"} & state.junk:
                kind = "lost" if told else "unusable"
                yield f"{kind}: cell {cell} had acknowledged {told}: {found.problem}"
        elif len(found.history) < told:
            yield f"lost: cell {cell} had acknowledged {told}, has {found.history!r}"
        elif found.is_torn or not final[cell].startswith(found.history):
            yield f"torn: cell {cell} has {found.history!r} of {final[cell]!r}"
        elif len(found.history) == told:
            yield from _unindexed(object_id, cell, found, index)
    for cell, told in state.acknowledged.items():
        if cell not in seen and told:
            yield f"lost: cell {cell} had acknowledged {told}, has no file"


def _unindexed(object_id: str, cell: int, found: Opened, index: Index) -> Iterator[str]:
    """Yield what the catalog lacks of an object all of whose state is acknowledged."""
    if not found.history:
        return
    if object_id not in index.objects:
        yield f"unknown: cell {cell} is not in the catalog ({index.problem})"
    if found.alarm_ms is not None:
        due_ms = index.alarms.get(object_id)
        if due_ms is None or due_ms > found.alarm_ms:
            yield f"alarm: cell {cell} is due at {found.alarm_ms}, indexed for {due_ms}"


def _read(database: Database) -> Opened:
    values = dict(KeyValue(database).get_many(_keys(database)))
    has_log = database.exists and database.value(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'log'"
    )
    log = [row[0] for row in database.execute("SELECT count FROM log")] if has_log else []
    alarm_ms = Metadata(database).due_ms()
    history = values.get("history", "")
    state = CellState(values=values, log=log, alarm_ms=alarm_ms)
    return Opened(
        history=history,
        alarm_ms=alarm_ms,
        is_torn=state != replay(history, values.get("soon")),
    )


def _keys(database: Database) -> list[str]:
    if not database.has_kv:
        return []
    return [str(row[0]) for row in database.execute("SELECT key FROM _cf_KV")]


def _is_usable(database: Database) -> bool:
    """Write, as the next request would, and return whether the database is consistent after it."""
    database.begin()
    database.run("INSERT OR REPLACE INTO _cf_KV VALUES ('used', '1')")
    database.commit()
    written = database.value("SELECT value FROM _cf_KV WHERE key = 'used'")
    return written == "1" and database.execute("PRAGMA quick_check") == [("ok",)]


def _cells_of(contents: Mapping[str, bytes]) -> Iterator[tuple[str, int, str]]:
    """Yield id, number and path of each cell of which a file or a log is left."""
    paths = {path.removesuffix("-wal") for path in contents}
    for path in sorted(paths):
        object_id = path.rpartition("/")[2].removesuffix(".sqlite")
        if object_id in IDS:
            yield object_id, IDS[object_id], path


def _catalog_path(contents: Mapping[str, bytes]) -> str:
    for path in contents:
        if path.endswith("/catalog.sqlite"):
            return path
    return "catalog.sqlite"


def _digest(*parts: bytes | None) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(b"-" if part is None else len(part).to_bytes(8, "big"))
        digest.update(part or b"")
    return digest.digest()
