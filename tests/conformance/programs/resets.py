"""Objects that end in every way that there is."""

from __future__ import annotations

import asyncio

from workers import DurableObject, Response


class Counter(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.memory = 0

    async def increment(self):
        count = (await self.ctx.storage.get("count") or 0) + 1
        await self.ctx.storage.put("count", count)
        return count

    def remember(self):
        self.memory += 1
        return self.memory

    def ping(self):
        return "pong"

    async def hang(self):
        await asyncio.get_running_loop().create_future()

    def stop(self, reason=None):
        try:
            self.ctx.abort(reason)
        except Exception:
            return "swallowed"

    async def put_and_break(self):
        self.ctx.storage.put("count", 888)
        self.ctx.abort("test broken")

    async def fail_in_section(self):
        async def section():
            await asyncio.sleep(0)
            raise ValueError("the section failed")

        await self.ctx.blockConcurrencyWhile(section)

    def fail(self):
        raise ValueError("only this call")

    def fail_behind(self, how):
        async def behind():
            await asyncio.sleep(0)
            raise ValueError("nobody waits for this")

        if how == "waitUntil":
            self.ctx.waitUntil(behind())
        else:
            self.task = asyncio.create_task(behind())
            self.task.add_done_callback(lambda task: task.exception())

    async def arm(self, due_ms):
        await self.ctx.storage.setAlarm(due_ms)

    async def alarm(self):
        await self.ctx.storage.put("fired", True)

    async def fired(self):
        return await self.ctx.storage.get("fired")

    async def fetch(self, request):
        return Response("ok")


class Fragile(DurableObject):
    """Fails in its constructor until its storage says otherwise."""

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        if not ctx.storage.kv.get("is_whole"):
            raise ValueError("not today")

    def ping(self):
        return "pong"
