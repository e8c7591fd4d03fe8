"""A counter that answers from memory: its storage is read once, before the first request is let in."""

from __future__ import annotations

from urllib.parse import urlsplit

from workers import DurableObject, Response, WorkerEntrypoint


class Counter(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.value = None
        self.reads = 0
        # Requests wait until this is done, also without an await: none of them sees `None`.
        ctx.blockConcurrencyWhile(self.initialise)

    async def initialise(self):
        self.reads += 1
        self.value = await self.ctx.storage.get("value") or 0

    async def fetch(self, request):
        steps = {"/increment": 1, "/decrement": -1, "/": 0}
        step = steps.get(urlsplit(request.url).path)
        if step is None:
            return Response("Try /, /increment or /decrement.\n", status=404)
        if step:
            self.value += step
            await self.ctx.storage.put("value", self.value)
        return Response(str(self.value))


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return await self.env.COUNTER.getByName("visits").fetch(request)
