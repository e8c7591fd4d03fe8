"""The gateway object's own SQL tables: readable, and made with the first write.

An object that only ever answered reads has no file, so loading looks whether the tables are there and
saving makes them. Rows are small texts and integers that a person can read with `sqlite3`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from dohost.gateway.api_keys import KeyRecord
from dohost.gateway.cache import CacheEntry
from dohost.gateway.config_tables import TenantConfig
from dohost.gateway.state import Sql
from dohost.gateway.stats import BOUNDS_MS, Counts

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS limits (key TEXT PRIMARY KEY, mark BLOB NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS breakers (key TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS cache (key TEXT PRIMARY KEY, entry BLOB NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS api_keys (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS tenants (id TEXT PRIMARY KEY, config TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS key_sets (url TEXT PRIMARY KEY, body BLOB NOT NULL,"
    " fetched_ns INTEGER NOT NULL) STRICT",
)
EXISTS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'limits'"


class Tables:
    """Reads nothing before the tables exist, and makes them with the first write."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._exist: bool | None = None

    def read(self, query: str, *bindings: object) -> list[Mapping[str, object]]:
        """Return the rows of a SELECT, none before the first write."""
        if self._exist is None:
            self._exist = any(True for _ in self._sql.exec(EXISTS))
        return list(self._sql.exec(query, *bindings)) if self._exist else []

    def write(self, query: str, *bindings: object) -> None:
        """Run a statement that changes a table."""
        if not self._exist:
            for statement in SCHEMA:
                self._sql.exec(statement)
            self._exist = True
        self._sql.exec(query, *bindings)


class LimitMarks:
    """The limiter's durable marks."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def load(self, key: str) -> bytes | None:
        rows = self._tables.read("SELECT mark FROM limits WHERE key = ?", key)
        return as_bytes(rows[0]["mark"]) if rows else None

    def save(self, key: str, mark: bytes) -> None:
        self._tables.write("INSERT OR REPLACE INTO limits VALUES (?, ?)", key, mark)

    def items(self) -> Iterable[tuple[str, bytes]]:
        for row in self._tables.read("SELECT key, mark FROM limits"):
            yield str(row["key"]), as_bytes(row["mark"])

    def drop(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._tables.write("DELETE FROM limits WHERE key = ?", key)


class BreakerRows:
    """States of circuit breakers, as JSON."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def load(self) -> Iterator[tuple[str, str]]:
        for row in self._tables.read("SELECT key, state FROM breakers"):
            yield str(row["key"]), str(row["state"])

    def save(self, key: str, state: str) -> None:
        self._tables.write("INSERT OR REPLACE INTO breakers VALUES (?, ?)", key, state)


class CacheRows:
    """Cache entries, as MessagePack."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def load(self) -> Iterable[tuple[str, CacheEntry]]:
        for row in self._tables.read("SELECT key, entry FROM cache"):
            yield str(row["key"]), msgspec.msgpack.decode(as_bytes(row["entry"]), type=CacheEntry)

    def save(self, key: str, entry: CacheEntry) -> None:
        packed = msgspec.msgpack.encode(entry)
        self._tables.write("INSERT OR REPLACE INTO cache VALUES (?, ?)", key, packed)

    def drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._tables.write("DELETE FROM cache WHERE key = ?", key)


class KeyRows:
    """API keys made at run time; secrets are here as digests only."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find(self, key_id: str) -> KeyRecord | None:
        rows = self._tables.read("SELECT record FROM api_keys WHERE id = ?", key_id)
        return _record(rows[0]) if rows else None

    def list(self) -> list[KeyRecord]:
        return [_record(row) for row in self._tables.read("SELECT record FROM api_keys")]

    def save(self, record: KeyRecord) -> None:
        text = msgspec.json.encode(record).decode()
        self._tables.write("INSERT OR REPLACE INTO api_keys VALUES (?, ?)", record.id, text)


class TenantRows:
    """Tenants made at run time."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find(self, tenant: str) -> TenantConfig | None:
        rows = self._tables.read("SELECT config FROM tenants WHERE id = ?", tenant)
        return msgspec.json.decode(str(rows[0]["config"]), type=TenantConfig) if rows else None

    def save(self, tenant: str, config: TenantConfig) -> None:
        text = msgspec.json.encode(config).decode()
        self._tables.write("INSERT OR REPLACE INTO tenants VALUES (?, ?)", tenant, text)


class CountRows:
    """What all objects have counted, in `$control`: one row, as JSON.

    Its table came later than the others, so a file may have those and not this one.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def load(self) -> Counts | None:
        """Return what was saved; None if nothing was, or with other bounds of durations."""
        if not self._tables.read("SELECT 1 FROM sqlite_master WHERE name = 'counts'"):
            return None
        (row,) = self._tables.read("SELECT counts FROM counts")
        counts = msgspec.json.decode(str(row["counts"]), type=Counts)
        return counts if len(counts.buckets) == len(BOUNDS_MS) + 1 else None

    def save(self, counts: Counts) -> None:
        text = msgspec.json.encode(counts).decode()
        self._tables.write(
            "CREATE TABLE IF NOT EXISTS counts (id INTEGER PRIMARY KEY, counts TEXT NOT NULL) STRICT"
        )
        self._tables.write("INSERT OR REPLACE INTO counts VALUES (1, ?)", text)


def as_bytes(value: object) -> bytes:
    """Return a BLOB column's bytes; storage gives a memoryview."""
    return bytes(value) if isinstance(value, (bytes, memoryview)) else b""


def _record(row: Mapping[str, object]) -> KeyRecord:
    return msgspec.json.decode(str(row["record"]), type=KeyRecord)
