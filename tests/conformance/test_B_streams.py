"""Section 12.B: streams and signals over calls: chunk by chunk, behind the gates of both sides."""

from __future__ import annotations

import asyncio

import pytest
from workers import Response, TransformStream
from workers.abort import AbortController

from dohost.errors import JsException, JsTypeError

STREAMS = """
import asyncio
from workers import ReadableStream, TransformStream

class Streams(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.log = []

    async def read(self, stream):
        chunks = [chunk.to_bytes() async for chunk in stream]
        return [len(chunks), b"".join(chunks)]

    async def write(self, stream):
        writer = stream.getWriter()
        for number in range(3):
            self.ctx.storage.put("n", number)
            await writer.write(f"{number},".encode())
        await writer.close()

    async def write_text(self, stream):
        self.ctx.storage.put("n", 1)
        stream.getWriter().write("text")
        return "done"

    async def write_and_break(self, stream):
        await stream.getWriter().write(b"half")
        self.ctx.abort("broke")

    def numbers(self):
        return Response(ReadableStream.from_async_iterable(self.produce()))

    async def produce(self):
        try:
            for number in range(3):
                self.ctx.storage.put("n", number)
                self.log.append(asyncio.current_task().owner is not None)
                yield f"{number},".encode()
                await asyncio.sleep(0)
        finally:
            self.log.append("closed")

    def get_log(self):
        return self.log

    def failing(self):
        async def produce():
            yield b"half"
            raise ValueError("out of numbers")
        return ReadableStream.from_async_iterable(produce())

    def endless(self):
        pipe = TransformStream()
        self.writer = pipe.writable.getWriter()
        self.writer.write(b"begun")
        return pipe.readable

    async def in_a_section(self):
        pipe = TransformStream()
        writer = pipe.writable.getWriter()
        async def section():
            reading = asyncio.ensure_future(self.env.STREAMS.getByName("b").read(pipe.readable))
            await writer.write(b"inside")
            await writer.close()
            return await reading
        return await self.ctx.blockConcurrencyWhile(section)

    async def abort_it(self):
        self.ctx.abort("stopped")

    async def wait_for(self, signal):
        stopped = asyncio.get_running_loop().create_future()
        def listener(event):
            self.log.append(type(asyncio.current_task()).__name__)
            stopped.set_result(str(event.target.reason))
        signal.addEventListener("abort", listener)
        return await stopped
"""


async def streams(bench, name: str = "a"):
    if not bench.host.generations:
        await bench.run(STREAMS)
    return bench.stub(name, class_name="Streams")


async def test_a_stream_as_an_argument_is_read_as_it_is_written(bench) -> None:
    pipe = TransformStream()
    call = asyncio.ensure_future((await streams(bench)).read(pipe.readable))
    writer = pipe.writable.getWriter()
    for number in range(3):
        await writer.write(f"{number},".encode())
        assert not call.done()
    await writer.close()
    count, content = await call
    assert (count, bytes(content)) == (3, b"0,1,2,")


async def test_a_writable_stream_as_an_argument_is_written_by_the_callee(bench) -> None:
    pipe = TransformStream()
    call = asyncio.ensure_future((await streams(bench)).write(pipe.writable))
    assert await Response(pipe.readable).text() == "0,1,2,"
    assert await call is None


async def test_text_that_a_stream_refuses_keeps_nothing_else_from_leaving(bench) -> None:
    pipe = TransformStream()
    async with asyncio.timeout(5):
        assert await (await streams(bench)).write_text(pipe.writable) == "done"


async def test_a_stream_in_a_result_is_produced_as_events_of_its_object(bench) -> None:
    stub = await streams(bench)
    response = await stub.numbers()
    assert await stub.get_log() == []
    assert await response.text() == "0,1,2,"
    assert await stub.get_log() == [True, True, True, "closed"]


async def test_chunks_wait_for_the_writes_before_them(bench) -> None:
    stub = await streams(bench)
    reader = (await stub.numbers()).body.getReader()
    chunk = await reader.read()
    assert chunk.value == b"0,"
    assert bench.actor(class_name="Streams").line.is_clean


async def test_a_stream_keeps_its_object_until_it_is_read_cancelled_or_dropped(bench) -> None:
    stub = await streams(bench)
    for finish in ("read", "cancel", "drop"):
        response = await stub.numbers()
        assert not bench.actor(class_name="Streams").is_idle
        match finish:
            case "read":
                await response.text()
            case "cancel":
                reader = response.body.getReader()
                await reader.read()
                await reader.cancel()
                assert (await stub.get_log())[-1] == "closed"
            case "drop":
                response = None
        for _ in range(3):
            await asyncio.sleep(0)
        assert bench.actor(class_name="Streams").is_idle


async def test_a_source_that_fails_cuts_the_reader_off(bench) -> None:
    reader = (await (await streams(bench)).failing()).getReader()
    assert (await reader.read()).value == b"half"
    with pytest.raises(JsException) as raised:
        await reader.read()
    assert str(raised.value) == "Error: ReadableStream received over RPC disconnected prematurely."
    assert "out of numbers" in str(raised.value.__cause__)


async def test_a_reset_of_the_producer_cuts_a_waiting_reader_off(bench) -> None:
    stub = await streams(bench)
    reader = (await stub.endless()).getReader()
    assert (await reader.read()).value == b"begun"
    waiting = asyncio.ensure_future(reader.read())
    await asyncio.sleep(0)
    with pytest.raises(JsException, match="stopped"):
        await stub.abort_it()
    with pytest.raises(JsException, match="ReadableStream received over RPC disconnected"):
        await waiting


async def test_a_writer_that_goes_away_is_an_error_for_the_reader(bench) -> None:
    pipe = TransformStream()
    call = asyncio.ensure_future((await streams(bench)).write_and_break(pipe.writable))
    reader = pipe.readable.getReader()
    assert (await reader.read()).value == b"half"
    with pytest.raises(JsException, match="broke"):
        await call
    with pytest.raises(JsException, match="the remote execution context has ended"):
        await reader.read()


async def test_a_pipe_written_in_a_section_is_read_during_it(bench) -> None:
    count, content = await (await streams(bench)).in_a_section()
    assert (count, bytes(content)) == (1, b"inside")


@pytest.mark.parametrize("side", ["readable", "writable"])
async def test_a_locked_stream_is_refused_and_a_moved_one_is_locked(bench, side: str) -> None:
    stub = await streams(bench)
    pipe = TransformStream()
    stream = getattr(pipe, side)
    lock = stream.getReader if side == "readable" else stream.getWriter
    holder = lock()
    with pytest.raises(JsTypeError, match=r"The \w+ has been locked to a (reader|writer)\."):
        stub.get_log(stream)
    holder.releaseLock()
    call = stub.get_log(stream)
    assert stream.locked
    with pytest.raises(JsException):
        await call


async def test_a_signal_as_an_argument_follows_the_callers(bench) -> None:
    stub = await streams(bench)
    controller = AbortController()
    call = asyncio.ensure_future(stub.wait_for(controller.signal))
    await asyncio.sleep(0)
    controller.abort()
    assert await call == "AbortError: The operation was aborted"
    assert await stub.get_log() == ["Turn"]
