"""Section 12.K, row K24: synchronous code that waits."""

from __future__ import annotations

import asyncio

import pytest

from dohost.errors import JsException

pytest.importorskip("greenlet", reason="installed with the package; an older environment lacks it")

PROGRAM = """
import asyncio
from pyodide.ffi import can_run_sync, run_sync

class Default(WorkerEntrypoint):
    def fetch(self, request):
        run_sync(asyncio.sleep(0))
        return Response(str(run_sync(self.env.SYNC.getByName("a").increment())))

class Sync(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.running = 0
        self.log = []

    def increment(self):
        value = run_sync(self.ctx.storage.get("n")) or 0
        run_sync(asyncio.sleep(0))
        run_sync(self.ctx.storage.put("n", value + 1))
        return value + 1

    def deep(self, depth):
        return self.deep(depth - 1) if depth else run_sync(self.later("bottom"))

    async def later(self, value):
        await asyncio.sleep(0)
        return value

    async def from_async_code(self):
        return [can_run_sync(), run_sync(self.later(1)), await self.later(2), self.deep(3)]

    def catches(self):
        try:
            run_sync(self.fails())
        except ValueError as error:
            return str(error)

    async def fails(self):
        await asyncio.sleep(0)
        raise ValueError("caught")

    def in_section(self):
        async def section():
            return run_sync(self.later("inside"))
        return run_sync(self.ctx.blockConcurrencyWhile(self.later_section))

    async def later_section(self):
        return await self.later("inside")

    def calls_other(self, name):
        first = self.env.SYNC.getByName(name)
        return run_sync(asyncio.gather(first.increment(), first.increment()))

    def hang(self):
        try:
            run_sync(asyncio.get_running_loop().create_future())
        finally:
            self.log.append("closed")

    def abort_it(self):
        self.ctx.abort("stopped")

    async def in_a_task(self):
        async def task():
            return run_sync(self.later(1))
        return await asyncio.create_task(task())
"""


async def run(bench):
    await bench.run(PROGRAM)
    return bench.stub(class_name="Sync")


async def test_K24_a_plain_method_waits_and_others_run_meanwhile(bench) -> None:
    stub = await run(bench)
    assert await stub.increment() == 1
    # Between the read and the write the object takes other events, as at any `await`.
    assert await asyncio.gather(stub.increment(), stub.increment()) == [2, 2]
    assert await (await bench.get()).text() == "3"


async def test_K24_any_depth_and_any_mixture_works(bench) -> None:
    stub = await run(bench)
    assert await stub.deep(50) == "bottom"
    assert await stub.from_async_code() == [True, 1, 2, "bottom"]
    assert await stub.catches() == "caught"
    assert await stub.in_section() == "inside"
    assert await stub.calls_other("b") == [1, 1]


async def test_K24_a_reset_closes_code_that_waits(bench) -> None:
    stub = await run(bench)
    log = bench.actor(class_name="Sync")
    hanging = asyncio.ensure_future(stub.hang())
    await asyncio.sleep(0)
    instance = bench.actor(class_name="Sync").instance
    with pytest.raises(JsException, match="stopped"):
        await stub.abort_it()
    with pytest.raises(JsException, match="stopped"):
        await hanging
    assert instance.log == ["closed"]
    assert log is None


async def test_K24_a_task_has_no_stack_to_put_aside(bench) -> None:
    stub = await run(bench)
    with pytest.raises(JsException, match="not in tasks or at import"):
        await stub.in_a_task()
