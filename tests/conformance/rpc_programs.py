"""Programs that pass references around, shared by the tests of section 12.B."""

from __future__ import annotations

import asyncio

OBJECTS = """
import asyncio
from workers import RpcTarget

disposed = []

class Greeter(RpcTarget):
    attribute = "hidden"

    def __init__(self, name):
        self.name = name
        self.own = lambda: "hidden"

    def greet(self, greeting):
        return f"{greeting}, {self.name}"

    async def fetch(self, what):
        return f"fetched {what}"

    def dispose(self):
        disposed.append(self.name)

class Duplicated(Greeter):
    def dup(self):
        return Greeter("dup of " + self.name)

class Owner(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.kept = None
        self.log = []

    def make_counter(self):
        value = 0
        def count(by):
            nonlocal value
            value += by
            return value
        return count

    def greeter(self, name):
        return Greeter(name)

    def greeters(self):
        return {"first": Greeter("one"), "nested": [Greeter("two")], "plain": 1}

    async def call_twice(self, callback):
        return [await callback(), await callback()]

    async def keep(self, callback):
        self.kept = callback
        return "kept"

    async def keep_dup(self, callback):
        self.kept = callback.dup()
        return "kept"

    async def use_kept(self, *args):
        return await self.kept(*args)

    def release(self):
        self.kept.dispose()

    async def pass_on(self, name, callback):
        return await self.env.OWNER.getByName(name).call_twice(callback)

    async def return_it(self, callback):
        return callback

    async def pass_own(self, name):
        return await self.env.OWNER.getByName(name).call_twice(self.note)

    def note(self):
        self.log.append(self.ctx.id.name)
        return len(self.log)

    async def call_stub(self, stub):
        return [await stub.note(), callable(stub.id), type(stub).__name__]

    async def has(self, target):
        return await target.greet("Hello")

    def disposed(self):
        return disposed

    async def abort_it(self):
        self.ctx.abort("gone")
"""


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def owner(bench, name: str = "a"):
    if not bench.host.generations:
        await bench.run(OBJECTS)
    return bench.stub(name, class_name="Owner")
