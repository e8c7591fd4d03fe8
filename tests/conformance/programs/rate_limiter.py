"""A limiter per client: so many requests at once, then one every so often; what is full forgets itself."""

from __future__ import annotations

import time

from workers import DurableObject, Response, WorkerEntrypoint

CAPACITY = 3
MS_PER_TOKEN = 1000


def now_ms():
    return int(time.time() * 1000)


class Limiter(DurableObject):
    async def wait_ms(self):
        """Take a token; return 0, or how long to wait for the next one."""
        now = now_ms()
        bucket = await self.ctx.storage.get("bucket") or {"tokens": CAPACITY, "at": now}
        earned = (now - bucket["at"]) // MS_PER_TOKEN
        tokens = min(CAPACITY, bucket["tokens"] + earned)
        at = now if tokens == CAPACITY else bucket["at"] + earned * MS_PER_TOKEN
        if tokens == 0:
            return at + MS_PER_TOKEN - now
        await self.ctx.storage.put("bucket", {"tokens": tokens - 1, "at": at})
        await self.ctx.storage.setAlarm(now + (CAPACITY + 1) * MS_PER_TOKEN)
        return 0

    async def alarm(self):
        # By now the bucket is full again, which is what an object without one means.
        await self.ctx.storage.deleteAll()


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        client = request.headers.get("CF-Connecting-IP") or "unknown"
        wait_ms = await self.env.LIMITER.getByName(client).wait_ms()
        if wait_ms:
            headers = {"Retry-After": str(-(-wait_ms // 1000))}
            return Response("Slow down", status=429, headers=headers)
        return Response("Welcome")
