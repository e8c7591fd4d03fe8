"""What a KV namespace keeps: one table, a row per key, in `<persist>/v3/kv/<id>.sqlite`.

Text is stored as text and bytes as a BLOB, so that a person can read it. An entry whose time has come
is gone for every reader at once; its row goes with the next write.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dohost.simulators.files import Column, SimulatorFile
from dohost.simulators.key_ranges import IN_RANGE, range_behind
from dohost.simulators.kv_arguments import Listing, Put

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS entries (
         key TEXT PRIMARY KEY, value ANY NOT NULL, expiration INTEGER, metadata TEXT) STRICT""",
    "CREATE INDEX IF NOT EXISTS expirations ON entries (expiration) WHERE expiration IS NOT NULL",
)
_LIVE = "(expiration IS NULL OR expiration > ?)"


class Entry(msgspec.Struct, frozen=True):
    """A value, and its metadata as JSON."""

    value: str | bytes
    metadata: str | None


class ListedKey(msgspec.Struct, frozen=True):
    """A key of a listing."""

    name: str
    expiration_s: int | None
    metadata: str | None


class KvStore:
    """The entries of one namespace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SimulatorFile(path, SCHEMA)

    async def get(self, keys: Sequence[str], *, now_s: int) -> dict[str, Entry]:
        """Return the entries that exist."""
        marks = ", ".join("?" * len(keys))
        rows = await self._file.rows(
            f"SELECT key, value, metadata FROM entries WHERE key IN ({marks}) AND {_LIVE}",
            (*keys, now_s),
        )
        return {str(key): _entry(value, metadata) for key, value, metadata in rows}

    async def put(self, key: str, value: str | bytes, put: Put, *, now_s: int) -> None:
        """Set an entry, durably."""
        async with self._file.transaction() as transaction:
            await transaction.execute("DELETE FROM entries WHERE expiration <= ?", (now_s,))
            await transaction.execute(
                "INSERT OR REPLACE INTO entries (key, value, expiration, metadata) "
                "VALUES (?, ?, ?, ?)",
                (key, value, put.expiration_s, put.metadata),
            )

    async def delete(self, key: str) -> None:
        """Forget an entry, durably."""
        async with self._file.transaction() as transaction:
            await transaction.execute("DELETE FROM entries WHERE key = ?", (key,))

    async def list(self, listing: Listing, *, now_s: int) -> tuple[Sequence[ListedKey], str | None]:
        """Return the keys in the order of their bytes, and a cursor if there are more."""
        after = _decode_cursor(listing.cursor) if listing.cursor else None
        rows = await self._file.rows(
            "SELECT key, expiration, metadata FROM entries "
            f"WHERE {IN_RANGE} AND {_LIVE} ORDER BY key LIMIT ?",
            (*range_behind(listing.prefix, after), now_s, listing.limit + 1),
        )
        keys = [
            ListedKey(*row)
            for row in msgspec.convert(rows, list[tuple[str, int | None, str | None]])
        ]
        if len(keys) <= listing.limit:
            return keys, None
        del keys[listing.limit :]
        return keys, base64.b64encode(keys[-1].name.encode()).decode()

    @property
    def is_busy(self) -> bool:
        """Whether a thread works for it now."""
        return self._file.is_busy

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()


def _entry(value: Column, metadata: Column) -> Entry:
    assert isinstance(value, str | bytes), "put stores nothing else"
    return Entry(value, None if metadata is None else str(metadata))


def _decode_cursor(cursor: str) -> str:
    """Return the key that a cursor stands behind; a cursor that nobody gave stands somewhere."""
    try:
        return base64.b64decode(cursor, validate=False).decode("utf-8", "replace")
    except ValueError:
        return cursor
