"""A note that deletes itself some time after it was last read or written."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from workers import DurableObject, Response, WorkerEntrypoint

TTL_MS = 60_000


class Note(DurableObject):
    async def _keep(self):
        await self.ctx.storage.setAlarm(int(time.time() * 1000) + TTL_MS)

    async def write(self, text):
        await self.ctx.storage.put("text", text)
        await self._keep()

    async def read(self):
        text = await self.ctx.storage.get("text")
        if text is not None:
            await self._keep()
        return text

    async def alarm(self, info):
        await self.ctx.storage.deleteAll()


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        note = self.env.NOTE.getByName(urlsplit(request.url).path)
        if request.method == "PUT":
            await note.write(await request.text())
            return Response(None, status=204)
        text = await note.read()
        if text is None:
            return Response("Gone, or never there", status=404)
        return Response(text)
