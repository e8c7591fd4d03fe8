"""A small program with bindings beside its objects, for the tests of `dohost.testing`."""

from __future__ import annotations

import time

from workers import DurableObject, WorkerEntrypoint


class Sender(DurableObject):
    async def send_in(self, seconds):
        await self.ctx.storage.setAlarm(time.time() * 1000 + seconds * 1000)

    async def alarm(self):
        await self.env.QUEUE.send("from the alarm")

    def write_behind(self):
        self.ctx.waitUntil(self.env.KV.put("kv", "written"))
        self.ctx.waitUntil(self.env.R2.put("r2", "written"))
        self.ctx.waitUntil(self.env.DB.exec("CREATE TABLE written (id)"))


class Default(WorkerEntrypoint):
    async def queue(self, batch):
        for each in batch.messages:
            await self.env.KV.put(f"{batch.queue}, attempt {each.attempts}", each.body)
        if batch.queue == "letters":
            raise ValueError("nobody lives here")
