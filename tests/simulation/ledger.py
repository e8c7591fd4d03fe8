"""An object that says by itself what it has applied, and a client that knows what it was told.

A `Ledger` appends names of operations to a list in SQL and counts them in a key, in one transaction. The
client sends each operation once and keeps the answer. Afterwards the list itself tells what is wrong: an
operation that was acknowledged must stand where the answer said, one that was reported as not applied
must not be there, and what was once read stays the beginning of all that is read later.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import msgspec

from tests.simulation.server_process import Answer, Connection

ENTRY = """
import json
from urllib.parse import parse_qs, urlsplit
from workers import DurableObject, Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        url = urlsplit(request.url)
        _, name, action = url.path.split("/")
        if name == "worker":
            return Response("here")
        stub = self.env.LEDGER.getByName(name)
        if action == "read":
            return Response(await stub.read())
        return Response(str(await getattr(stub, action)(url.query)))


class Ledger(DurableObject):
    async def append(self, item):
        storage = self.ctx.storage
        storage.sql.exec("CREATE TABLE IF NOT EXISTS items (place INTEGER PRIMARY KEY, item TEXT)")
        count = (await storage.get("count") or 0) + 1
        storage.sql.exec("INSERT INTO items VALUES (?, ?)", count, item)
        await storage.put("count", count)
        if count % 7 == 0:
            await storage.put("big", "x" * 40_000 + item)
        return count

    async def alarm_and_append(self, item):
        await self.ctx.storage.setAlarm(4_000_000_000_000)
        return await self.append(item)

    async def read(self):
        storage = self.ctx.storage
        has_items = list(storage.sql.exec("SELECT 1 FROM sqlite_schema WHERE name = 'items'"))
        rows = storage.sql.exec("SELECT item FROM items ORDER BY place") if has_items else []
        count = await storage.get("count") or 0
        return json.dumps({"items": [row["item"] for row in rows], "count": count})

    async def alarm(self):
        pass

    async def exhaust(self, item):
        raise MemoryError("no memory left")

    async def allocate(self, item):
        return len(bytearray(1 << 30))

    async def recurse(self, item):
        return await self.recurse(item)
"""

CONFIG = """
name = "bank"
main = "entry.py"
compatibility_date = "2026-09-08"
compatibility_flags = ["python_workers"]
[[durable_objects.bindings]]
name = "LEDGER"
class_name = "Ledger"
[[migrations]]
tag = "v1"
new_sqlite_classes = ["Ledger"]
"""
UNIQUE_KEY = "bank-Ledger"
ANSWER_WITHIN_S = 10.0
# What the error table says about the disk; each but the last promises that nothing was applied.
NOT_APPLIED = frozenset({"storage-full", "storage-failed", "too-many-files"})
UNKNOWN = "outcome-unknown"
STATUS_OF = {"storage-full": 507, "storage-failed": 503, "too-many-files": 503, UNKNOWN: 500}


class Outcome(StrEnum):
    """What a client knows of an operation that it has sent."""

    sent = "sent"
    acknowledged = "acknowledged"
    not_applied = "not applied"
    unknown = "unknown"


class Record(msgspec.Struct, kw_only=True):
    """What the clients know of one object."""

    outcomes: dict[str, Outcome] = msgspec.field(default_factory=dict)
    places: dict[str, int] = msgspec.field(default_factory=dict)
    seen: list[str] = msgspec.field(default_factory=list)
    sent_since: set[str] = msgspec.field(default_factory=set)


class Violation(AssertionError):
    """The server broke a promise."""


def write_project(root: Path) -> None:
    """Write the program."""
    (root / "wrangler.toml").write_text(CONFIG)
    (root / "entry.py").write_text(ENTRY)


class Ledgers:
    """All objects of a data directory, as their clients know them."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.codes: dict[str, int] = {}
        self._count = 0

    async def append(self, connection: Connection, name: str, *, action: str = "append") -> Outcome:
        """Send one operation and keep what its answer says. Raises: Violation; OSError, EOFError."""
        record = self.records.setdefault(name, Record())
        self._count += 1
        item = f"{self._count}"
        record.outcomes[item] = Outcome.sent
        record.sent_since.add(item)
        answer = await _within_time(connection, f"/{name}/{action}?{item}")
        outcome = outcome_of(answer)
        record.outcomes[item] = outcome
        if outcome is Outcome.acknowledged:
            record.places[item] = int(answer.body)
        else:
            code = json.loads(answer.body)["code"]
            self.codes[code] = self.codes.get(code, 0) + 1
        return outcome

    async def read(self, connection: Connection, name: str) -> None:
        """Compare one object, to which nothing is being sent, with its record. Raises: Violation."""
        record = self.records[name]
        answer = await _within_time(connection, f"/{name}/read")
        if answer.status != 200:
            raise Violation(f"{name} can't be read: {answer.status} {answer.body}")
        content = json.loads(answer.body)
        problem = problem_of(record, content["items"], content["count"])
        if problem is not None:
            raise Violation(f"{name}: {problem}")
        record.seen = content["items"]
        record.sent_since.clear()

    async def read_all(self, port: int) -> None:
        """Compare every object. Raises: Violation."""
        async with Connection(port) as connection:
            for name in self.records:
                await self.read(connection, name)

    def forget_all_but(self, names: Iterable[str]) -> None:
        """Compare only these objects from now on."""
        self.records = {name: self.records[name] for name in names}


def problem_of(record: Record, items: list[str], count: int) -> str | None:
    """Return what is wrong with the content of an object, if anything is."""
    if count != len(items):
        return f"torn: it counts {count} and lists {len(items)}"
    if items[: len(record.seen)] != record.seen:
        return f"forgot or changed what was read before: {record.seen} became {items}"
    for item, place in record.places.items():
        if items[place - 1 : place] != [item]:
            return f"lost: {item} was acknowledged at {place}, and there are {_end(items)}"
    for item in items[len(record.seen) :]:
        if item not in record.sent_since:
            return f"came back: {item} was not there when it was read last"
        if record.outcomes[item] is Outcome.not_applied:
            return f"applied: {item} was reported as not applied"
    if len(set(items)) != len(items):
        return f"applied twice: {items}"
    return None


def _end(items: list[str]) -> str:
    return f"{len(items)} items ending in {items[-5:]}"


def outcome_of(answer: Answer) -> Outcome:
    """Return what an answer says. Raises: Violation if it does not say it clearly."""
    if answer.status == 200:
        return Outcome.acknowledged
    kind = answer.headers.get("content-type", "")
    if kind != "application/problem+json":
        raise Violation(f"not a problem answer: {answer}")
    code = json.loads(answer.body).get("code")
    if STATUS_OF.get(code) != answer.status:
        raise Violation(f"not a clear answer: {answer}")
    if answer.status == 503 and "retry-after" not in answer.headers:
        raise Violation(f"no word of when to try again: {answer}")
    return Outcome.not_applied if code in NOT_APPLIED else Outcome.unknown


async def _within_time(connection: Connection, path: str) -> Answer:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await connection.ask(path)
    except TimeoutError as error:
        raise Violation(f"no answer to {path} within {ANSWER_WITHIN_S} s") from error
