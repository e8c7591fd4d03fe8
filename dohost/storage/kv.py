"""Key-value storage: the rules of get, put, delete and list, acting at call time.

`KeyValue` is the one implementation; `ctx.storage`, a transaction and `storage.kv` are three faces of it.
Keys are text in the order of UTF-8 bytes, which is Python's order of code points too. Values go through
`values`. Writes need an open transaction, which is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from workers.values import JsDict

from dohost.errors import JsException, JsRangeError
from dohost.storage.arguments import Options, Range, key_of, range_of
from dohost.storage.database import Database
from dohost.storage.values import decode, encode, serialized_bytes

KEYS_MAX = 128
ENTRY_BYTES_MAX = 2 * 1024 * 1024
TOO_BIG = "string or blob too big: SQLITE_TOOBIG"
ITERATOR_INVALIDATED = (
    "kv.list() iterator was invalidated because a new call to kv.list() was started. "
    "Only one kv.list() iterator can exist at a time."
)
_ROWS_PER_STEP = 128

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

    def rows(self, wanted: Range, limit: int | None) -> list[tuple[str, object]]:
        """Return at most `limit` pairs of a range."""
        if not self._database.has_kv:
            return []
        sql, bindings = wanted.query(limit)
        return [(str(key), decode(value)) for key, value in self._database.execute(sql, bindings)]

    def within(self, wanted: Range) -> JsDict:
        """Return the keys of a range with their values, in its order."""
        return JsDict(self.rows(wanted, wanted.limit))

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
        wanted = range_of(options, named)
        if self._iterator is not None:
            self._iterator.is_invalidated = True
        self._iterator = KvIterator(self._kv, wanted, self._before_read)
        return self._iterator


class KvIterator:
    """Pairs of a range, read some at a time; sees writes to keys that it has not reached yet."""

    def __init__(self, kv: KeyValue, wanted: Range, before_read: Callable[[], None]) -> None:
        self._kv = kv
        self._range = wanted
        self._before_read = before_read
        self._left = wanted.limit
        self._rows: Iterator[tuple[str, object]] = iter(())
        self._is_last_step = False
        self.is_invalidated = False

    def __iter__(self) -> KvIterator:
        return self

    def __next__(self) -> list[object]:
        self._before_read()
        if self.is_invalidated:
            raise JsException(ITERATOR_INVALIDATED)
        row = next(self._rows, None)
        if row is None:
            row = self._step()
        return list(row)

    def _step(self) -> tuple[str, object]:
        if self._is_last_step:
            raise StopIteration
        count = _ROWS_PER_STEP if self._left is None else min(_ROWS_PER_STEP, self._left)
        rows = self._kv.rows(self._range, count)
        self._is_last_step = len(rows) < count
        if not rows:
            raise StopIteration
        self._range = self._range.after(rows[-1][0])
        if self._left is not None:
            self._left -= len(rows)
            self._is_last_step = self._is_last_step or self._left == 0
        self._rows = iter(rows)
        return next(self._rows)
