"""A batcher: what is posted to it leaves as one request, ten seconds after the first of it came.

Nothing is lost if the receiver fails, because items are deleted only when they were taken, and the alarm is
run again until that is so.
"""

from __future__ import annotations

import time

from workers import DurableObject, Response, WorkerEntrypoint, fetch

WAIT_MS = 10_000
KEYS_PER_CALL = 128


class Batcher(DurableObject):
    async def fetch(self, request):
        item = await request.text()
        # From here to the answer only storage is awaited, so two requests can't take the same number.
        number = await self.ctx.storage.get("next") or 0
        await self.ctx.storage.put({"next": number + 1, f"item:{number:010}": item})
        if await self.ctx.storage.getAlarm() is None:
            await self.ctx.storage.setAlarm(int(time.time() * 1000) + WAIT_MS)
        return Response(f"queued as {number}\n", status=202)

    async def alarm(self, alarm_info):
        items = await self.ctx.storage.list(prefix="item:")
        response = await fetch(self.env.RECEIVER, method="POST", body="\n".join(items.values()))
        response.raise_for_status()
        # Not everything that is there now: items may have come while the request was out.
        keys = list(items)
        for first in range(0, len(keys), KEYS_PER_CALL):
            await self.ctx.storage.delete(keys[first : first + KEYS_PER_CALL])


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return await self.env.BATCHER.getByName("all").fetch(request)
