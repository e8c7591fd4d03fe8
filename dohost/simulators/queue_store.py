"""What queues keep: the messages of all of them, in `<persist>/v3/queues/queues.sqlite`.

One file, so that a message moves to its dead letter queue in one transaction. A message is there from
before its sender hears so until after its consumer has settled it. While its batch is out nobody else
takes it; whoever opens the file next finds no batch out, so that what a crash interrupts is delivered
again. The attempt is counted before the consumer runs, so that a message which ends the process is given
up at last. A message that nobody takes for four days after it could be delivered is dropped; a dead letter
queue counts them from the message's arrival there. What each queue holds is counted by triggers: a send costs the same behind a long backlog.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from dohost.simulators.files import Column, Row, SimulatorFile, Transaction
from dohost.simulators.queue_messages import Backlog, Delivery, NewMessage

RETENTION_MS = 4 * 24 * 3600 * 1000
# The `visible_ms` of a message that is being delivered is later by this: no clock reaches it.
OUT_MS = 2**53
_ADD = """INSERT INTO backlogs VALUES (new.queue, 1, length(CAST(new.body AS BLOB)))
  ON CONFLICT (queue) DO UPDATE SET count = count + 1, size = size + excluded.size;"""
_REMOVE = """UPDATE backlogs SET count = count - 1, size = size - length(CAST(old.body AS BLOB))
  WHERE queue = old.queue;"""
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS messages (
         position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL,
         sent_ms INTEGER NOT NULL, visible_ms INTEGER NOT NULL, attempts INTEGER NOT NULL,
         content_type TEXT NOT NULL, body ANY NOT NULL) STRICT""",
    "CREATE INDEX IF NOT EXISTS visible ON messages (queue, visible_ms, position)",
    "CREATE INDEX IF NOT EXISTS age ON messages (queue, sent_ms)",
    # Where a file holds only the number itself, `sent_ms` stands in for the time of before.
    f"""UPDATE messages SET visible_ms = max(sent_ms, visible_ms - {OUT_MS})
         WHERE visible_ms >= {OUT_MS}""",
    """CREATE TABLE IF NOT EXISTS backlogs (
         queue TEXT PRIMARY KEY, count INTEGER NOT NULL, size INTEGER NOT NULL) STRICT""",
    """INSERT INTO backlogs SELECT queue, count(*), sum(length(CAST(body AS BLOB))) FROM messages
         WHERE NOT EXISTS (SELECT 1 FROM backlogs) GROUP BY queue""",
    f"CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON messages BEGIN {_ADD} END",
    f"CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON messages BEGIN {_REMOVE} END",
    f"CREATE TRIGGER IF NOT EXISTS moved AFTER UPDATE OF queue ON messages BEGIN {_REMOVE} {_ADD} END",
)
_BACKLOG = (
    "SELECT count, size, (SELECT min(sent_ms) FROM messages WHERE queue = ?1) FROM backlogs "
    "WHERE queue = ?1"
)


class Readiness(msgspec.Struct, frozen=True):
    """How many messages could be delivered now (counted up to a limit), and when the first could."""

    ready: int
    first_ms: int | None


class Taken(msgspec.Struct, frozen=True):
    """The messages of one delivery, and how many were dropped because nobody took them for too long."""

    deliveries: list[Delivery]
    expired: int


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one delivery: ids to forget, ids to deliver again (at a time in ms), ids given up."""

    acknowledged: tuple[str, ...]
    again: tuple[tuple[str, int], ...]
    given_up: tuple[str, ...]


class QueueStore:
    """The messages of every queue of a host."""

    def __init__(self, path: Path) -> None:
        self._file = SimulatorFile(path, SCHEMA)

    async def add(self, queue: str, messages: Sequence[NewMessage], *, now_ms: int) -> Backlog:
        """Keep messages, durably, in order; return what waits in the queue with them."""
        rows = [
            (
                each.id,
                queue,
                now_ms,
                now_ms + round(each.delay_s * 1000),
                each.content_type,
                each.body,
            )
            for each in messages
        ]
        async with self._file.transaction() as transaction:
            await transaction.execute_many(
                "INSERT INTO messages (id, queue, sent_ms, visible_ms, attempts, content_type, body) "
                "VALUES (?, ?, ?, ?, 0, ?, ?)",
                rows,
            )
            # Here, because a send whose message is kept must not fail by what it reads behind that.
            return _backlog(await transaction.rows(_BACKLOG, (queue,)))

    async def backlog(self, queue: str) -> Backlog:
        """Return what waits in a queue."""
        return _backlog(await self._file.rows(_BACKLOG, (queue,)))

    async def readiness(self, queue: str, *, now_ms: int, limit: int) -> Readiness:
        """Return whether there is something to deliver, or when there will be."""
        rows = await self._file.rows(
            "SELECT visible_ms FROM messages WHERE queue = ? AND visible_ms < ? "
            "ORDER BY visible_ms, position LIMIT ?",
            (queue, OUT_MS, limit),
        )
        times = [row[0] for row in msgspec.convert(rows, list[tuple[int]])]
        ready = sum(time <= now_ms for time in times)
        return Readiness(ready, times[0] if times else None)

    async def take(self, queue: str, *, now_ms: int, limit: int) -> Taken:
        """Return the messages to deliver next; count the attempt and keep them from others, durably."""
        async with self._file.transaction() as transaction:
            expired = await transaction.execute(
                "DELETE FROM messages WHERE queue = ? AND visible_ms < ?",
                (queue, now_ms - RETENTION_MS),
            )
            rows = await transaction.rows(
                "SELECT id, sent_ms, attempts + 1, content_type, body FROM messages "
                "WHERE queue = ? AND visible_ms <= ? ORDER BY visible_ms, position LIMIT ?",
                (queue, now_ms, limit),
            )
            await transaction.execute_many(
                "UPDATE messages SET attempts = attempts + 1, visible_ms = visible_ms + ? "
                "WHERE id = ?",
                [(OUT_MS, row[0]) for row in rows],
            )
        return Taken([_delivery(row) for row in rows], expired)

    async def settle(
        self, settlement: Settlement, *, now_ms: int, dead_letter_queue: str | None
    ) -> None:
        """Write down the end of a delivery, durably and at once."""
        async with self._file.transaction() as transaction:
            await _delete(transaction, settlement.acknowledged)
            await transaction.execute_many(
                "UPDATE messages SET visible_ms = ? WHERE id = ?",
                [(time_ms, message_id) for message_id, time_ms in settlement.again],
            )
            if dead_letter_queue is None:
                await _delete(transaction, settlement.given_up)
            else:
                await transaction.execute_many(
                    "UPDATE messages SET queue = ?, attempts = 0, visible_ms = ? WHERE id = ?",
                    [(dead_letter_queue, now_ms, each) for each in settlement.given_up],
                )

    @property
    def is_busy(self) -> bool:
        """Whether a thread works for it now."""
        return self._file.is_busy

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()


async def _delete(transaction: Transaction, ids: Sequence[str]) -> None:
    await transaction.execute_many("DELETE FROM messages WHERE id = ?", [(each,) for each in ids])


def _backlog(rows: Sequence[Row]) -> Backlog:
    if not rows:
        return Backlog(0, 0, None)
    return Backlog(*msgspec.convert(rows[0], tuple[int, int, int | None]))


def _delivery(row: Sequence[Column]) -> Delivery:
    message_id, sent_ms, attempts, content_type, body = row
    assert isinstance(sent_ms, int)
    assert isinstance(attempts, int)
    assert isinstance(body, str | bytes)
    return Delivery(
        id=str(message_id),
        sent_ms=sent_ms,
        attempts=attempts,
        content_type=str(content_type),
        body=body,
    )
