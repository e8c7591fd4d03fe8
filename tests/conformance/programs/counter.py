"""A counter per name: /NAME reads it, /NAME/up and /NAME/down change it."""

from __future__ import annotations

from urllib.parse import urlsplit

from workers import DurableObject, Response, WorkerEntrypoint


class Counter(DurableObject):
    async def value(self):
        return await self.ctx.storage.get("value") or 0

    async def change(self, by):
        # No other request comes between these two: storage calls are all that is awaited.
        value = await self.value() + by
        await self.ctx.storage.put("value", value)
        return value


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        name, _, action = urlsplit(request.url).path.strip("/").partition("/")
        if not name:
            return Response("Which counter? Try /visits/up", status=404)
        counter = self.env.COUNTER.getByName(name)
        match action:
            case "":
                return Response(str(await counter.value()))
            case "up":
                return Response(str(await counter.change(1)))
            case "down":
                return Response(str(await counter.change(-1)))
        return Response("A counter goes up or down", status=404)
