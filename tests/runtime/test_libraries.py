"""Ordinary asyncio code and third-party libraries work inside objects, under the input gate."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

CODE = """
import asyncio
import contextlib

class Lab(DurableObject):
    async def http(self, port):
        import aiohttp
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/") as response:
                text = await response.text()
        await self.ctx.storage.put("seen", text)
        return text

    async def thread(self):
        import threading
        return await asyncio.to_thread(lambda: threading.current_thread() is threading.main_thread())

    async def storage_in_thread(self):
        await asyncio.to_thread(lambda: self.ctx.storage.put("n", 1))

    async def primitives(self):
        queue, lock, event, done = asyncio.Queue(1), asyncio.Lock(), asyncio.Event(), []

        async def produce():
            for number in range(3):
                await queue.put(number)
            event.set()

        async def consume():
            async with lock:
                for _ in range(3):
                    done.append(await queue.get())

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            group.create_task(consume())
        await asyncio.wait_for(event.wait(), 5)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(60), 0.001)
        async with contextlib.aclosing(self.numbers()) as numbers:
            done += [number async for number in numbers]
        return done

    async def numbers(self):
        for number in range(3, 5):
            await asyncio.sleep(0)
            yield number

    async def later(self):
        loop = asyncio.get_running_loop()
        loop.call_later(0.001, lambda: self.ctx.storage.put("later", True))
        await asyncio.sleep(0.01)
        return await self.ctx.storage.get("later")

    async def held(self, log):
        async def section():
            await self.ctx.storage.put("log", [])
            await asyncio.to_thread(lambda: None)
            await self.note("section")
        await self.ctx.blockConcurrencyWhile(section)

    async def note(self, word):
        log = (await self.ctx.storage.get("log") or []) + [word]
        await self.ctx.storage.put("log", log)
        return log
"""


async def test_an_http_client_of_another_library_works_inside_an_object(
    bench, aiohttp_server
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", answer)
    server = await aiohttp_server(app)
    await bench.run(CODE)
    assert await bench.stub(class_name="Lab").http(server.port) == "hello"


async def test_threads_answer_into_the_object_but_have_no_storage(bench) -> None:
    await bench.run(CODE)
    stub = bench.stub(class_name="Lab")
    assert await stub.thread() is False
    with pytest.raises(Exception, match="Storage belongs to the event loop's thread"):
        await stub.storage_in_thread()


async def test_asyncios_primitives_work_inside_an_object(bench) -> None:
    await bench.run(CODE)
    assert await bench.stub(class_name="Lab").primitives() == [0, 1, 2, 3, 4]


async def test_a_timers_callback_may_write(bench) -> None:
    await bench.run(CODE)
    assert await bench.stub(class_name="Lab").later() is True


async def test_the_gate_holds_while_a_section_awaits_a_thread(bench) -> None:
    await bench.run(CODE)
    stub = bench.stub(class_name="Lab")
    section = asyncio.ensure_future(stub.held([]))
    await asyncio.sleep(0)
    notes = asyncio.ensure_future(stub.note("outside"))
    await section
    assert await notes == ["section", "outside"]
