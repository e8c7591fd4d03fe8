"""Objects whose alarm does what their storage says, and notes each run."""

from __future__ import annotations

import asyncio

from js import Date
from workers import DurableObject


class Clock(DurableObject):
    async def set(self, due):
        await self.ctx.storage.setAlarm(due)

    async def get(self):
        return await self.ctx.storage.getAlarm()

    async def unset(self):
        await self.ctx.storage.deleteAlarm()

    async def plan(self, *steps):
        """Say what the next runs do, one word each."""
        await self.ctx.storage.put("plan", list(steps))

    async def runs(self):
        return [dict(run) for run in await self.ctx.storage.get("runs") or []]

    async def set_and_put(self, due, fails):
        async def both(txn):
            await txn.setAlarm(due)
            await txn.put("beside", due)
            if fails:
                raise ValueError("undo both")

        await self.ctx.storage.transaction(both)

    async def beside(self):
        return await self.ctx.storage.get("beside")

    async def alarm(self, info):
        storage = self.ctx.storage
        run = {
            "at": Date.now(),
            "scheduled": info.scheduledTime,
            "retry": info.retryCount,
            "is_retry": info.isRetry,
            "seen": await storage.getAlarm(),
            "name": self.ctx.id.name,
        }
        plan = await storage.get("plan") or []
        step = plan.pop(0) if plan else "done"
        await storage.put({"runs": [*(await storage.get("runs") or []), run], "plan": plan})
        await storage.sync()
        await self.do(step)

    async def do(self, step):
        storage = self.ctx.storage
        match step:
            case "fail":
                raise ValueError("the handler failed")
            case "set-later":
                await storage.setAlarm(Date.now() + 50)
            case "set-now":
                await storage.setAlarm(Date.now())
            case "set-and-unset":
                await storage.deleteAlarm()
                await storage.setAlarm(Date.now() + 50)
                await storage.deleteAlarm()
            case "set-and-fail":
                await storage.setAlarm(Date.now() + 500)
                raise ValueError("after setting a new one")
            case "abort":
                self.ctx.abort("the handler aborted")
            case "abandon":
                self.ctx.abort("the handler gave up", retryAlarm=False)
            case "abandon-anew":
                await storage.setAlarm(Date.now() + 60_000)
                await storage.sync()
                self.ctx.abort("gave up this one", {"retryAlarm": False})
            case "wait":
                await asyncio.sleep(30)
            case "for-ever":
                await asyncio.get_running_loop().create_future()
            case "section":
                await self.ctx.blockConcurrencyWhile(self.fail)

    async def fail(self):
        raise ValueError("the section failed")

    async def block(self, seconds):
        await self.ctx.blockConcurrencyWhile(lambda: asyncio.sleep(seconds))


class Plain(DurableObject):
    """Its handler takes no argument."""

    async def set(self, due):
        await self.ctx.storage.setAlarm(due)

    async def alarm(self):
        await self.ctx.storage.put("fired", True)

    async def fired(self):
        return await self.ctx.storage.get("fired")


class Deaf(DurableObject):
    """Has no handler."""

    async def set(self, due):
        await self.ctx.storage.setAlarm(due)


class DeafFromBirth(DurableObject):
    """Sets an alarm in its constructor, where no handler is asked for."""

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        ctx.storage.setAlarm(Date.now() + 1000)

    async def get(self):
        return await self.ctx.storage.getAlarm()
