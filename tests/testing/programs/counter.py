"""A small program for the tests of `dohost.testing`."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

from js import Date, WebSocketPair
from workers import DurableObject, Response, WorkerEntrypoint, fetch


class Counter(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.memory = 0

    async def increment(self):
        count = (await self.ctx.storage.get("count") or 0) + 1
        await self.ctx.storage.put("count", count)
        self.memory += 1
        return count

    def remembered(self):
        return self.memory

    def times(self):
        return [time.time(), datetime.now().timestamp(), Date.now() / 1000]

    async def nap(self, seconds):
        await asyncio.sleep(seconds)
        return "rested"

    def nap_behind(self, seconds):
        self.ctx.waitUntil(self.nap(seconds))

    async def arm(self, seconds):
        await self.ctx.storage.setAlarm(datetime.now() + timedelta(seconds=seconds))

    async def armed(self):
        return await self.ctx.storage.getAlarm()

    async def alarm(self):
        if await self.ctx.storage.get("is_failing"):
            raise ValueError("no alarm today")
        await self.ctx.storage.put("fired_at", time.time())
        await self.env.LEDGER.getByName("all").note(self.ctx.id.name)

    async def fired_at(self):
        return await self.ctx.storage.get("fired_at")

    async def fetch(self, request):
        client, server = WebSocketPair.new().object_values()
        server.accept()

        def on_message(event):
            server.send(f"you said {event.data}")
            if event.data == "bye":
                server.close(1000, "as you wish")

        server.addEventListener("message", on_message)
        return Response(None, status=101, web_socket=client)


class Ledger(DurableObject):
    async def note(self, name):
        names = await self.ctx.storage.get("names") or []
        await self.ctx.storage.put("names", [*names, name])

    async def names(self):
        return await self.ctx.storage.get("names") or []

    async def call(self, name):
        """Call a counter as careful programs do: again, on a new stub, if that makes sense."""
        for _ in range(3):
            try:
                return await self.env.COUNTER.getByName(name).increment()
            except Exception as error:
                if not error.retryable or error.overloaded:
                    raise
        return "gave up"


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        if request.headers.get("upgrade") == "websocket":
            return await self.env.COUNTER.getByName("socket").fetch(request)
        if request.url.endswith("/fail"):
            raise ValueError("a broken page")
        if request.url.endswith("/weather"):
            return await fetch("https://weather.example/today")
        return Response.json({"url": request.url, "ip": request.headers.get("cf-connecting-ip")})
