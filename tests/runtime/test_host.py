"""The host as a whole: bindings, background work, eviction, ending."""

from __future__ import annotations

import asyncio
import time

import pytest
from programs import VERSION
from workers import Request

from dohost.config import RateLimitBinding
from dohost.errors import JsException
from dohost.runtime.bindings import Env


async def wait_for(condition, *, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.001)


async def test_the_default_entrypoint_answers_requests(bench) -> None:
    await bench.run("")
    assert await (await bench.get()).text() == "default"


async def test_the_rate_limit_binding_counts_per_key(bench) -> None:
    config = bench.config(
        """
        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                answers = [(await self.env.LIMIT.limit({"key": "a"})).success for _ in range(3)]
                answers.append((await self.env.LIMIT.limit(key="b")).success)
                return Response(str(answers))
        """,
        ratelimits=(RateLimitBinding(name="LIMIT", namespace_id="1", limit=2, period=10),),
    )
    await bench.run(config)
    assert await (await bench.get()).text() == "[True, True, False, True]"
    bench.clock.advance(10)
    assert await (await bench.get()).text() == "[True, True, False, True]"


async def test_json_variables_have_to_py_and_missing_bindings_are_attribute_errors(bench) -> None:
    config = bench.config(
        """
        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                plain = self.env.SETTINGS.to_py()
                try:
                    self.env.SETTING
                except AttributeError as error:
                    missing = str(error)
                return Response(f"{type(plain).__name__} {self.env.SETTINGS.tiers[0].rpm} {missing}")
        """,
        vars={"SETTINGS": {"tiers": [{"rpm": 100}]}, "OTHER": "secret"},
    )
    await bench.run(config)
    assert await (await bench.get()).text() == (
        "dict 100 env has no binding 'SETTING'; bound are OTHER, SETTINGS. Did you mean 'SETTINGS'?"
    )


def test_probing_for_a_binding_gives_its_default_and_no_values_are_told() -> None:
    assert getattr(Env({"A": 1}), "NOPE", "default") == "default"
    with pytest.raises(AttributeError) as caught:
        _ = Env({"TOKEN": "hunter2"}).x
    assert str(caught.value) == "env has no binding 'x'; bound are TOKEN."
    with pytest.raises(AttributeError, match="env has no binding 'B'; nothing is bound"):
        _ = Env({}).B


async def test_functions_are_called_back_in_the_object_that_they_came_from(bench) -> None:
    await bench.run(
        """
        class Caller(DurableObject):
            async def run(self):
                seen = []
                async def callback(value):
                    seen.append(value)
                    return value * 2
                answer = await self.env.CALLEE.getByName("x").twice(callback)
                return [answer, seen]

        class Callee(DurableObject):
            async def twice(self, callback):
                return await callback(await callback(3))
        """
    )
    assert await bench.stub(class_name="Caller").run() == [12, [3, 6]]


async def test_background_work_keeps_its_object_and_its_failure_is_logged(bench) -> None:
    await bench.run(
        """
        import asyncio
        class Busy(DurableObject):
            async def start(self):
                async def work():
                    await asyncio.sleep(0.005)
                    raise ValueError("background")
                self.ctx.waitUntil(work())
        """
    )
    await bench.stub(class_name="Busy").start()
    assert not bench.actor(class_name="Busy").evict_if_idle()

    async def logged() -> bool:
        return any(event.name == "object.background_failed" for event in bench.events)

    await wait_for(logged)
    assert bench.actor(class_name="Busy").evict_if_idle()


async def test_a_damaged_file_is_quarantined_and_left_as_it_is(bench) -> None:
    await bench.run(VERSION.format(version=1))
    await bench.stub().increment()
    path = bench.actor().database.path
    await bench.host.drain(grace_s=1)
    for each in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        each.unlink(missing_ok=True)
    path.write_bytes(b"")
    bench.host = bench._new_host()
    await bench.run(VERSION.format(version=1))
    with pytest.raises(JsException, match="0 bytes"):
        await bench.stub().increment()
    assert await bench.stub("other").increment() == 1
    assert path.read_bytes() == b""


async def test_drain_lets_calls_in_flight_finish(bench) -> None:
    await bench.run(
        """
        import asyncio
        class Slow(DurableObject):
            async def work(self):
                await asyncio.sleep(0.02)
                await self.ctx.storage.put("done", True)
                return "finished"
        """
    )
    call = asyncio.ensure_future(bench.stub(class_name="Slow").work())
    await asyncio.sleep(0)
    await bench.host.drain(grace_s=5)
    assert await call == "finished"


async def test_drain_ends_calls_that_take_too_long(bench) -> None:
    await bench.run(
        """
        import asyncio
        class Slow(DurableObject):
            async def work(self):
                await asyncio.sleep(60)
        """
    )
    call = asyncio.ensure_future(bench.stub(class_name="Slow").work())
    await asyncio.sleep(0)
    await bench.host.drain(grace_s=0.01)
    with pytest.raises(JsException, match="The server stopped"):
        await call


async def test_a_streamed_response_can_be_read_by_the_caller(bench) -> None:
    await bench.run(
        """
        from js import TransformStream
        class Streamer(DurableObject):
            async def fetch(self, request):
                stream = TransformStream()
                writer = stream.writable.getWriter()
                async def write():
                    for number in range(3):
                        await self.ctx.storage.put("n", number)
                        await writer.write(f"{number},".encode())
                    await writer.close()
                self.ctx.waitUntil(write())
                return Response(stream.readable)
        """
    )
    response = await bench.stub(class_name="Streamer").fetch(Request("http://do/"))
    assert await response.text() == "0,1,2,"


async def test_nothing_of_a_new_instance_leaves_before_the_old_ones_writes_are_durable(
    bench,
) -> None:
    await bench.run(VERSION.format(version=1))
    stub = bench.stub()
    await stub.increment()
    actor = bench.actor()
    from dohost.gates import Batch

    syncing = Batch()
    actor.line._last = syncing
    actor.reset(RuntimeError("reset while a sync was running"))
    actor.line._last = None
    reply = bench.stub().version()
    await asyncio.sleep(0)
    assert not reply.done()
    syncing.finish(None)
    assert await reply == 1


async def test_a_callback_of_a_worker_runs_outside_the_object_that_calls_it(bench) -> None:
    await bench.run(
        """
        import asyncio
        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                async def callback():
                    return type(asyncio.current_task()).__name__
                return Response(await self.env.CALLEE.getByName("x").run(callback))

        class Callee(DurableObject):
            async def run(self, callback):
                return await callback()
        """
    )
    assert await (await bench.get()).text() == "Task"
