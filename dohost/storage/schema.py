"""The host's own tables in an object's file, and the image that new files are made from.

`_cf_KV` and `_cf_METADATA` have workerd's names and columns; `_cf_META` is ours: one row that says whose
file this is. The image is an empty database with these tables, already in WAL mode, so that a new object
costs one write of 16 KiB instead of DDL. Whoever reads this file's constants knows
the format; a change of them is a new `FORMAT_VERSION`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import apsw
import msgspec

from dohost.errors import CallerError, Quarantined
from dohost.memo import Memo
from dohost.storage.connection import Row

FORMAT_VERSION = 1

# Keys of _cf_METADATA; the first is workerd's.
ALARM = 1
RESTORED = 3

TABLES = {
    "_cf_KV": "CREATE TABLE _cf_KV (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID",
    "_cf_METADATA": "CREATE TABLE _cf_METADATA (key INTEGER PRIMARY KEY, value BLOB)",
    "_cf_META": (
        "CREATE TABLE _cf_META (class_key TEXT NOT NULL, object_id TEXT NOT NULL, name TEXT, "
        "format INTEGER NOT NULL) STRICT"
    ),
}
_SELECT_TABLES = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '\\_cf\\_%' ESCAPE '\\'"
)
_SELECT_META = "SELECT class_key, object_id, name, format FROM _cf_META"
# The same look as at each table by itself, for a file that lacks nothing: one statement to compile.
_SELECT_ALL = (
    "SELECT class_key, object_id, name, format, (SELECT 1 FROM _cf_KV LIMIT 1), "
    "(SELECT 1 FROM _cf_METADATA LIMIT 1) FROM _cf_META LIMIT 1"
)
_INSERT_META = "INSERT INTO _cf_META (class_key, object_id, name, format) VALUES (?, ?, ?, ?)"
# So that `changes()` does not tell user code of the host's own row.
_CHANGE_NOTHING = "DELETE FROM _cf_META WHERE format < 0"
_SELECT_CONTENTS = (
    "SELECT type, name, coalesce(sql, '') LIKE 'CREATE VIRTUAL TABLE%' FROM sqlite_schema "
    "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_sequence' ESCAPE '\\'"
)
_SECTOR_BYTES = 512
_WAL_FORMAT = b"\x02\x02"  # read and write version in the file header, bytes 18 and 19

Execute = Callable[[str, Sequence[str | int | None]], list[Row]]

_images: Memo[bytes] = Memo(entries_max=1)


class ObjectMeta(msgspec.Struct, frozen=True, kw_only=True):
    """Whose file it is: the class's key, the object's id (64 hex digits) and its name, if known."""

    unique_key: str
    object_id: str
    name: str | None


def image() -> bytes:
    """Return the content of a new file."""
    return _images.get_or_make(FORMAT_VERSION, _make_image)


def _make_image() -> bytes:
    connection = apsw.Connection(":memory:")
    for statement in TABLES.values():
        connection.execute(statement)
    content = bytearray(connection.serialize("main"))
    connection.close()
    content[18:20] = _WAL_FORMAT
    return bytes(content)


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the host's tables a file has, and whether its meta row is there."""

    tables: frozenset[str]
    has_meta_row: bool

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to make before the first write."""
        return self.has_meta_row and self.tables.issuperset(TABLES)


NOTHING = Inventory(tables=frozenset(), has_meta_row=False)
NEW = Inventory(tables=frozenset(TABLES), has_meta_row=False)
COMPLETE = Inventory(tables=frozenset(TABLES), has_meta_row=True)


def inspect(execute: Execute, meta: ObjectMeta, path: Path) -> Inventory:
    """Look at a file. Raises: Quarantined if it is another object's or of a newer format."""
    try:
        found = execute(_SELECT_ALL, ())
    except apsw.SQLError:
        found = []
    if found:
        _check_meta(found[0][:4], meta, path)
        return COMPLETE
    tables = frozenset(str(row[0]) for row in execute(_SELECT_TABLES, ()))
    rows = execute(_SELECT_META, ()) if "_cf_META" in tables else []
    if rows:
        _check_meta(rows[0], meta, path)
    for name in tables.intersection(TABLES):
        # Damage shows when a table is read; it has to show before the object is trusted.
        execute(f"SELECT 1 FROM {name} LIMIT 1", ())
    return Inventory(tables=tables, has_meta_row=bool(rows))


def is_torn_image(content: bytes) -> bool:
    """Return whether `content` is what a power cut leaves of a new file that was not synced."""
    whole = image()
    if len(content) > len(whole):
        return False
    parts = [
        (content[start : start + _SECTOR_BYTES], whole[start : start + _SECTOR_BYTES])
        for start in range(0, len(content), _SECTOR_BYTES)
    ]
    return all(not any(found) or meant.startswith(found) for found, meant in parts)


def complete(execute: Execute, meta: ObjectMeta, inventory: Inventory) -> None:
    """Make what the file lacks; runs inside the transaction of its first write."""
    for name, statement in TABLES.items():
        if name not in inventory.tables:
            execute(statement, ())
    if not inventory.has_meta_row:
        execute(_INSERT_META, (meta.unique_key, meta.object_id, meta.name, FORMAT_VERSION))
        execute(_CHANGE_NOTHING, ())


def adopt(execute: Execute, meta: ObjectMeta, path: Path) -> None:
    """Make any database the file of the object that `meta` names. Raises: CallerError: a newer format."""
    tables = frozenset(str(row[0]) for row in execute(_SELECT_TABLES, ()))
    rows = execute(_SELECT_META, ()) if "_cf_META" in tables else []
    if any(not isinstance(row[3], int) or row[3] > FORMAT_VERSION for row in rows):
        raise CallerError(f"{path} has a format that is newer than {FORMAT_VERSION}.")
    if rows:
        execute("DELETE FROM _cf_META", ())
    complete(execute, meta, Inventory(tables=tables, has_meta_row=False))


def empty(execute: Execute) -> None:
    """Drop and delete all that user code made, in the open transaction; the host's rows stay.

    Dropping every table leaves no violated foreign key behind, but only all together: deferring them
    makes the order of the tables irrelevant.
    """
    execute("PRAGMA defer_foreign_keys = on", ())
    contents = [row for row in execute(_SELECT_CONTENTS, ()) if row[1] not in TABLES]
    # Virtual tables first: they own shadow tables, which can't be dropped by themselves.
    contents.sort(key=lambda row: (row[0] != "view", not row[2]))
    for kind, name, _ in contents:
        quoted = str(name).replace('"', '""')
        execute(f'DROP {str(kind).upper()} IF EXISTS "{quoted}"', ())
    execute("DELETE FROM _cf_KV", ())
    execute("PRAGMA defer_foreign_keys = off", ())


def _check_meta(row: Row, meta: ObjectMeta, path: Path) -> None:
    class_key, object_id, _, version = row
    if (class_key, object_id) != (meta.unique_key, meta.object_id):
        raise Quarantined(
            f"{path} belongs to object {object_id!r} of {class_key!r}, "
            f"not to {meta.object_id} of {meta.unique_key}"
        )
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise Quarantined(
            f"{path} has format {version!r}, which is newer than {FORMAT_VERSION}; use a newer dohost"
        )
