"""The benchmark's work for dohost; tests/benchmarks/javascript/worker.js is its twin, line for line."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from workers import DurableObject, Request, Response, WorkerEntrypoint


class Counter(DurableObject):
    """A counter in storage, one in memory, and calls to other counters."""

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self._seen = 0

    async def memory(self) -> int:
        self._seen += 1
        return self._seen

    async def read(self) -> int:
        return await self.ctx.storage.get("count") or 0

    async def increment(self) -> int:
        count = (await self.ctx.storage.get("count") or 0) + 1
        await self.ctx.storage.put("count", count)
        return count

    async def echo(self, value: dict[str, object]) -> dict[str, object]:
        return value

    async def calls(self, name: str, times: int) -> int:
        other = self.env.COUNTER.getByName(f"{name}-other")
        last = {"call": -1}
        for call in range(times):
            last = await other.echo({"call": call, "label": "copied"})
        return last["call"] + 1

    async def chain(self, name: str, depth: int) -> int:
        if depth == 0:
            return await self.read()
        return await self.env.COUNTER.getByName(f"{name}-{depth - 1}").chain(name, depth - 1)

    async def aggregateReads(self, name: str) -> int:
        parts = [self.env.COUNTER.getByName(f"{name}-part{part}").read() for part in range(4)]
        return len(await asyncio.gather(*parts))

    async def aggregateIncrements(self, name: str) -> int:
        parts = [self.env.COUNTER.getByName(f"{name}-part{part}").increment() for part in range(4)]
        return len(await asyncio.gather(*parts))


class Default(WorkerEntrypoint):
    """Routes `/<work>/<name>[/<depth>]`."""

    async def fetch(self, request: Request) -> Response:
        _, work, name, *rest = f"{urlsplit(request.url).path}/".split("/")
        if work == "hello":
            return Response("hello")
        counter = self.env.COUNTER.getByName(f"{name}-{rest[0]}" if work == "chain" else name)
        match work:
            case "memory":
                return Response.json({"count": await counter.memory()})
            case "read":
                return Response.json({"count": await counter.read()})
            case "increment":
                return Response.json({"count": await counter.increment()})
            case "calls":
                return Response.json({"count": await counter.calls(name, int(rest[0]))})
            case "chain":
                return Response.json({"count": await counter.chain(name, int(rest[0]))})
            case "aggregate-reads":
                return Response.json({"count": await counter.aggregateReads(name)})
            case "aggregate-increments":
                return Response.json({"count": await counter.aggregateIncrements(name)})
        return Response("no such work", status=404)
