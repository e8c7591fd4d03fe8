"""Key-value storage: the rules of get, put, delete and list, acting at call time.

`KeyValue` is the one implementation; `ctx.storage`, a transaction and `storage.kv` are three faces of it.
Keys are text in the order of UTF-8 bytes, which is Python's order of code points too. Values go through
`values`. Writes need an open transaction, which is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import apsw
from workers.values import JsDict

from dohost.errors import JsException, JsRangeError
from dohost.storage.arguments import Options, Range, check_options, key_of, range_of
from dohost.storage.connection import Row
from dohost.storage.database import Database
from dohost.storage.values import decode, encode, serialized_bytes

KEYS_MAX = 128
ENTRY_BYTES_MAX = 2 * 1024 * 1024
TOO_BIG = "string or blob too big: SQLITE_TOOBIG"
ITERATOR_INVALIDATED = (
    "kv.list() iterator was invalidated because a new call to kv.list() was started. "
    "Only one kv.list() iterator can exist at a time."
)

_GET = "SELECT value FROM _cf_KV WHERE key = ?"
_PUT = (
    "INSERT INTO _cf_KV (key, value) VALUES (?, ?) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_DELETE = "DELETE FROM _cf_KV WHERE key = ?"


class KeyValue:
    """The keys and values of one object."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> object:
        """Return a fresh copy of the value, or None."""
        database = self._database
        if not database.has_kv:
            return None
        stored = database.value(_GET, (key,))
        return None if stored is None else decode(stored)

    def get_many(self, keys: list[str]) -> JsDict:
        """Return the keys that exist, in order."""
        self._check_count(len(keys), "keys")
        found = JsDict()
        if not self._database.has_kv:
            return found
        for key in sorted(set(keys)):
            stored = self._database.value(_GET, (key,))
            if stored is not None:
                found[key] = decode(stored)
        return found

    def put(self, key: str, value: object) -> None:
        """Store one value in the open transaction."""
        self._database.run(_PUT, (key, self.encode(key, value)))

    def put_encoded(self, encoded: list[tuple[str, str]]) -> None:
        """Store values that `encode` gave, in the open transaction."""
        for pair in encoded:
            self._database.run(_PUT, pair)

    def encode(self, key: str, value: object) -> str:
        """Return the text to store; in strict mode, refuse what production finds too large."""
        if (
            self._database.is_strict
            and len(key.encode()) + serialized_bytes(value) > ENTRY_BYTES_MAX
        ):
            raise JsException(TOO_BIG)
        return encode(value)

    def encode_many(self, entries: Mapping[str, object]) -> list[tuple[str, str]]:
        """Check and encode a batch, so that a refused value leaves nothing written."""
        self._check_count(len(entries), "pairs")
        encoded = []
        for each, value in entries.items():
            key = key_of(each)
            encoded.append((key, self.encode(key, value)))
        return encoded

    def delete(self, key: str) -> bool:
        """Delete one key; return whether it existed."""
        self._database.run(_DELETE, (key,))
        return self._database.changes > 0

    def delete_many(self, keys: list[str]) -> int:
        """Delete keys; return how many existed."""
        self._check_count(len(keys), "keys")
        return sum([self.delete(key) for key in keys])

    def within(self, wanted: Range) -> JsDict:
        """Return the keys of a range with their values, in its order."""
        if not self._database.has_kv:
            return JsDict()
        rows = self._database.execute(*wanted.query())
        return JsDict([(str(key), decode(value)) for key, value in rows])

    def cursor(self, wanted: Range) -> apsw.Cursor | None:
        """Return a running query of a range, or None while there is nothing to read."""
        if wanted.is_empty or not self._database.has_kv:
            return None
        return self._database.query(*wanted.query())

    def next_row(self, cursor: apsw.Cursor) -> Row | None:
        """Return the next row of such a query, or None at its end. Raises: JsException."""
        return self._database.next_row(cursor)

    def _check_count(self, count: int, noun: str) -> None:
        if self._database.is_strict and count > KEYS_MAX:
            what = "keys" if noun == "keys" else "key value pairs"
            raise JsRangeError(
                f"Maximum number of {what} is {KEYS_MAX}. {count} {noun} were provided."
            )


class SyncKvStorage:
    """`ctx.storage.kv`: the same keys and values, without awaitables."""

    def __init__(
        self, kv: KeyValue, *, before_read: Callable[[], None], before_write: Callable[[], None]
    ) -> None:
        self._kv = kv
        self._before_read = before_read
        self._before_write = before_write
        self._iterator: KvIterator | None = None

    def __repr__(self) -> str:
        return "<SyncKvStorage>"

    def get(self, key: str) -> object:
        """Return a fresh copy of the value, or None."""
        self._before_read()
        return self._kv.get(key_of(key))

    def put(self, key: str, value: object) -> None:
        """Store one value."""
        self._before_read()
        key = key_of(key)
        encoded = self._kv.encode(key, value)
        self._before_write()
        self._kv.put_encoded([(key, encoded)])

    def delete(self, key: str) -> bool:
        """Delete one key; return whether it existed."""
        self._before_read()
        key = key_of(key)
        self._before_write()
        return self._kv.delete(key)

    def list(self, options: Options | None = None, /, **named: object) -> KvIterator:
        """Return an iterator of [key, value]; the next call of `list` invalidates it."""
        self._before_read()
        check_options(options, "SyncKvStorage", "list")
        wanted = range_of(options, named)
        self.make_way_for(wanted)
        iterator = KvIterator(self._kv, wanted, self._before_read)
        if not wanted.is_empty:
            self._iterator = iterator
        return iterator

    def make_way_for(self, wanted: Range) -> None:
        """End the iterator of the last `list`, also before one of the asynchronous kind."""
        if self._iterator is not None and not wanted.is_empty:
            self._iterator.invalidate()

    def close_iterator(self) -> None:
        """End the iterator that is still reading, if there is one."""
        if self._iterator is not None:
            self._iterator.close()


class KvIterator:
    """Pairs of a range: the first is read at once, the others when they are asked for."""

    def __init__(self, kv: KeyValue, wanted: Range, before_read: Callable[[], None]) -> None:
        self._kv = kv
        self._before_read = before_read
        self._cursor = kv.cursor(wanted)
        self._first = self._step()
        self._has_ended = self._first is None
        self.is_invalidated = False

    def __iter__(self) -> KvIterator:
        return self

    def __next__(self) -> list[object]:
        self._before_read()
        if self.is_invalidated:
            raise JsException(ITERATOR_INVALIDATED)
        row, self._first = self._first or self._step(), None
        if row is None:
            self._has_ended = True
            raise StopIteration
        key, value = row
        return [key, decode(value)]

    def invalidate(self) -> None:
        """Stop reading for another iterator's sake; one that had ended is not concerned."""
        self.is_invalidated = self.is_invalidated or not self._has_ended
        self.close()

    def close(self) -> None:
        """Stop reading: there is nothing more to come."""
        cursor, self._cursor, self._first = self._cursor, None, None
        if cursor is not None:
            cursor.close(True)

    def _step(self) -> Row | None:
        if self._cursor is None:
            return None
        row = self._kv.next_row(self._cursor)
        if row is None:
            self._cursor = None
        return row
