"""Objects that stand at their gates, and note what passed in which order."""

from __future__ import annotations

import asyncio

from workers import DurableObject, Response, fetch


class Gated(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.seen = []

    def note(self, what):
        self.seen.append(what)

    def notes(self):
        return self.seen

    # Critical sections

    async def section(self, name, seconds=1):
        async def body():
            self.seen.append(f"{name} begins")
            await asyncio.sleep(seconds)
            self.seen.append(f"{name} ends")
            return name

        result = await self.ctx.blockConcurrencyWhile(body)
        self.seen.append(f"{name} is over")
        return result

    async def two_sections(self):
        first = self.ctx.blockConcurrencyWhile(lambda: self.step("first"))
        second = self.ctx.blockConcurrencyWhile(lambda: self.step("second"))
        await asyncio.gather(first, second)

    async def step(self, name):
        await asyncio.sleep(0)
        self.seen.append(name)

    async def section_with_tasks(self):
        async def body():
            await asyncio.gather(self.step("inner a"), self.step("inner b"))

        await self.ctx.blockConcurrencyWhile(body)

    async def nested(self):
        async def inner():
            self.seen.append("inner begins")
            await asyncio.sleep(1)
            self.seen.append("inner ends")

        async def outer():
            beside = asyncio.create_task(self.step("beside"))
            await self.ctx.blockConcurrencyWhile(inner)
            await beside

        await self.ctx.blockConcurrencyWhile(outer)

    async def outlived(self):
        """Leave a task behind in a section; it goes on in the scope below."""

        async def straggle():
            await asyncio.sleep(2)
            self.seen.append("straggler")

        async def body():
            self.straggler = asyncio.create_task(straggle())

        await self.ctx.blockConcurrencyWhile(body)
        self.seen.append("section over")

    async def deep(self, depth):
        async def deeper():
            return await self.deep(depth - 1) if depth else "bottom"

        try:
            section = self.ctx.blockConcurrencyWhile(deeper)
        except Exception as error:
            return str(error)
        return await section

    async def failing_section(self):
        async def body():
            await asyncio.sleep(1)
            raise ValueError("section failed")

        await self.ctx.blockConcurrencyWhile(body)

    async def deadlock(self, how):
        outside = asyncio.create_task(asyncio.sleep(0.01))

        async def directly():
            await outside

        async def by_a_task_of_its_own():
            await asyncio.create_task(directly())

        bodies = {"directly": directly, "by a task": by_a_task_of_its_own}
        await self.ctx.blockConcurrencyWhile(bodies[how])

    async def plain_section(self):
        return await self.ctx.blockConcurrencyWhile(lambda: 42)

    async def storing_section(self):
        async def body():
            await self.ctx.storage.put("inside", 1)
            await asyncio.sleep(0)
            return 42

        return [await self.ctx.blockConcurrencyWhile(body), await self.ctx.storage.get("inside")]

    async def arm(self, due):
        await self.ctx.storage.setAlarm(due)

    async def alarm(self):
        self.seen.append("alarm")

    # Writes and what leaves

    async def write(self, steps):
        for step in steps:
            match step:
                case "confirmed":
                    self.ctx.storage.put("key", 1)
                case "unconfirmed":
                    self.ctx.storage.put("key", 2, allowUnconfirmed=True)
                case "sql":
                    self.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS t (x)")
                    self.ctx.storage.sql.exec("INSERT INTO t VALUES (1)")
                case "fail":
                    raise ValueError("the handler failed")
                case "sync":
                    await self.ctx.storage.sync()
        return "answered"

    async def many_syncs(self):
        for number in range(10):
            self.ctx.storage.put(f"key {number}", number)
        await asyncio.gather(*[self.ctx.storage.sync() for _ in range(10)])

    async def rolled_back(self):
        """Undo the only confirmed write."""

        async def undone(txn):
            await txn.put("key", 1)
            txn.rollback()

        await self.ctx.storage.transaction(undone)
        return "answered"

    async def nested_transaction(self, fails):
        async def child(txn):
            await txn.put("child", 1)

        async def parent(txn):
            await self.ctx.storage.transaction(child)
            if fails:
                raise ValueError("parent failed")

        await self.ctx.storage.transaction(parent)

    async def write_and_fetch(self):
        self.ctx.storage.put("key", 1)
        response = await fetch("https://example.com/told")
        return await response.text()

    async def read(self, key="key"):
        return await self.ctx.storage.get(key)


class Initialised(DurableObject):
    """Initialises itself before its first event, without awaiting it."""

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.value = None
        ctx.blockConcurrencyWhile(self.initialise)

    async def initialise(self):
        await asyncio.sleep(0.001)
        self.value = await self.ctx.storage.get("value") or "initial"

    def get(self):
        return self.value

    async def fetch(self, request):
        return Response(self.value)
