"""An object with everything that a test of its storage needs around it."""

from __future__ import annotations

import asyncio

from workers import DurableObject


class Store(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.made_by = ctx.id.name

    async def alarm(self):
        pass

    async def read(self):
        return (await self.ctx.storage.get("count")) or 0

    async def increment(self):
        count = await self.read()
        await self.ctx.storage.put("count", count + 1)

    async def increment_after_a_pause(self):
        count = await self.read()
        await asyncio.sleep(0)
        await self.ctx.storage.put("count", count + 1)

    async def put_unawaited(self):
        self.ctx.storage.put("quick", 1)
        return await self.ctx.storage.get("quick")

    async def put_and_fail_before_the_end(self):
        await self.ctx.storage.put({"a": 1})
        await self.ctx.storage.put("b", 1)
        self.ctx.abort("planned")

    async def put_pause_put_abort(self):
        await self.ctx.storage.put("a", 1)
        await asyncio.sleep(0)
        await self.ctx.storage.put("b", 1)
        self.ctx.abort("planned")

    async def keys(self):
        return list(await self.ctx.storage.list())


class Other(DurableObject):
    pass
