"""The Worker of the power-loss runs, and the ten-line model that its stored state must equal.

A `Cell` applies operations. Each is one letter, and the object stores the letters that it has applied in
order, so a state found after a crash says by itself which history it claims: it is whole if and only if
it equals `replay` of that history, and nothing acknowledged is lost if the history is long enough.
"""

from __future__ import annotations

import msgspec

# put, big value, many keys, SQL, transaction over two turns, alarm earlier, alarm later, no alarm, clear
OPERATIONS = "pbmstAZNc"
FIRED = "F"
SOON = "S"
FAR_MS = 4_000_000_000_000

ENTRY = f"""
import asyncio
from workers import DurableObject, Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("unused")


class Cell(DurableObject):
    async def apply(self, kind):
        storage = self.ctx.storage
        if kind == "t":
            await storage.transaction(self._in_two_turns)
            return len(await storage.get("history"))
        history = (await storage.get("history") or "") + kind
        count = len(history)
        if kind == "c":
            await storage.deleteAll()
        if kind == "b":
            await storage.put("big", "x" * (count * 977 % 9000))
        if kind == "m":
            await storage.put({{f"many-{{index}}": count for index in range(40)}})
        if kind == "s":
            storage.sql.exec("CREATE TABLE IF NOT EXISTS log (count INTEGER)")
            storage.sql.exec("INSERT INTO log VALUES (?)", count)
        if kind in "AZ":
            await storage.setAlarm({FAR_MS} + (count if kind == "Z" else -count) * 1000)
        if kind == "N":
            await storage.deleteAlarm()
        await storage.put("history", history)
        await storage.put("twin", count)
        return count

    async def _in_two_turns(self, txn):
        history = (await txn.get("history") or "") + "t"
        await txn.put("history", history)
        await asyncio.sleep(0)
        await txn.put("twin", len(history))

    async def read(self):
        return len(await self.ctx.storage.get("history") or "")

    async def alarm_soon(self, due_ms):
        history = (await self.ctx.storage.get("history") or "") + "S"
        await self.ctx.storage.setAlarm(due_ms)
        soon = await self.ctx.storage.getAlarm()
        await self.ctx.storage.put({{"history": history, "twin": len(history), "soon": soon}})
        return len(history)

    async def alarm(self):
        await self.apply("{FIRED}")
"""


class CellState(msgspec.Struct, kw_only=True):
    """What a cell has stored."""

    values: dict[str, object]
    log: list[int]
    alarm_ms: int | None = None


def replay(history: str, soon_ms: int | None) -> CellState:
    """Return the state of a cell that has applied `history`; its last alarm for soon was at `soon_ms`."""
    state = CellState(values={}, log=[])
    for count, kind in enumerate(history, start=1):
        if kind == "c":
            state = CellState(values={}, log=[])
        if kind == "b":
            state.values["big"] = "x" * (count * 977 % 9000)
        if kind == "m":
            state.values |= {f"many-{index}": count for index in range(40)}
        if kind == "s":
            state.log.append(count)
        if kind in "AZ":
            state.alarm_ms = FAR_MS + (count if kind == "Z" else -count) * 1000
        if kind == SOON:
            state.alarm_ms = soon_ms
            state.values["soon"] = soon_ms
        if kind in ("N", FIRED):
            state.alarm_ms = None
        state.values |= {"history": history[:count], "twin": count}
    return state
