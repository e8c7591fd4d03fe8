"""Worker programs that several tests run."""

from __future__ import annotations

VERSION = """
class Counter(DurableObject):
    async def version(self):
        return {version}

    async def increment(self):
        value = (await self.ctx.storage.get("n") or 0) + 1
        await self.ctx.storage.put("n", value)
        return value

    async def slow_version(self, event):
        import asyncio, users
        await asyncio.sleep(0.01)
        import users as late
        return late.NAME
"""
