"""Streams: order, backpressure, locks, cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workers import ReadableStream, Response, TransformStream

from dohost.errors import JsTypeError


class _Source:
    """Counts what is pulled from it, and whether it was closed."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.pulled = 0
        self.is_closed = False

    def __aiter__(self) -> _Source:
        return self

    async def __anext__(self) -> bytes:
        if not self.chunks:
            raise StopAsyncIteration
        self.pulled += 1
        return self.chunks.pop(0)

    async def aclose(self) -> None:
        self.is_closed = True


async def test_nothing_is_pulled_before_somebody_reads() -> None:
    source = _Source(b"a", b"b", b"c")
    stream = ReadableStream(source)
    reader = stream.getReader()
    assert source.pulled == 0
    result = await reader.read()
    assert (result.done, result.value, source.pulled) == (False, b"a", 1)


async def test_empty_chunks_are_skipped_and_the_end_stays_the_end() -> None:
    reader = ReadableStream(_Source(b"", b"a", b"")).getReader()
    assert (await reader.read()).value == b"a"
    assert (await reader.read()) == {"done": True, "value": None}
    assert (await reader.read()).done


async def test_one_reader_at_a_time() -> None:
    stream = ReadableStream(_Source(b"a", b"b"))
    reader = stream.getReader()
    assert stream.locked
    for use in (stream.getReader, stream.tee, stream.cancel, stream.__aiter__, stream.chunks):
        with pytest.raises(JsTypeError, match="locked to a reader"):
            use()
    reader.releaseLock()
    reader.releaseLock()
    with pytest.raises(JsTypeError, match="released"):
        await reader.read()
    assert [chunk async for chunk in stream] == [b"a", b"b"]


async def test_cancel_closes_the_source_and_ends_the_stream() -> None:
    source = _Source(b"a", b"b")
    stream = ReadableStream(source)
    await stream.cancel("enough")
    assert source.is_closed
    assert [chunk async for chunk in stream] == []


async def test_a_reader_can_cancel() -> None:
    source = _Source(b"a", b"b")
    reader = ReadableStream(source).getReader()
    await reader.cancel()
    assert source.is_closed
    assert (await reader.read()).done


async def test_an_error_of_the_source_reaches_the_reader() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await Response(ReadableStream.from_async_iterable(broken())).text()


async def test_closing_the_chunks_closes_the_source() -> None:
    source = _Source(b"a", b"b")
    chunks = ReadableStream(source).chunks()
    assert await anext(chunks) == b"a"
    await chunks.aclose()
    assert source.is_closed


async def test_a_used_or_locked_stream_is_no_body() -> None:
    stream = ReadableStream.from_bytes(b"a")
    stream.getReader()
    with pytest.raises(JsTypeError, match="disturbed"):
        Response(stream)


@given(st.lists(st.binary(min_size=1), max_size=5))
async def test_both_branches_of_a_tee_see_everything(chunks: list[bytes]) -> None:
    source = _Source(*chunks)
    left, right = ReadableStream(source).tee()
    assert [chunk async for chunk in left] == chunks
    assert [chunk async for chunk in right] == chunks


async def test_branches_can_be_read_at_the_same_time() -> None:
    pipe = TransformStream()
    left, right = pipe.readable.tee()
    both = asyncio.gather(left.read_all(), right.read_all())
    writer = pipe.writable.getWriter()
    await writer.write(b"ab")
    await writer.write(b"cd")
    await writer.close()
    assert await both == [b"abcd", b"abcd"]


async def test_cancelling_both_branches_cancels_the_stream() -> None:
    source = _Source(b"a", b"b", b"c")
    left, right = ReadableStream(source).tee()
    readers = left.getReader(), right.getReader()
    for reader in readers:
        await reader.read()
    await readers[0].cancel()
    assert not source.is_closed
    await readers[1].cancel()
    assert source.is_closed


async def test_a_write_completes_when_it_was_read() -> None:
    pipe = TransformStream()
    writer = pipe.writable.getWriter()
    write = writer.write(b"a")
    await asyncio.sleep(0)
    assert not write.done()
    reader = pipe.readable.getReader()
    assert (await reader.read()).value == b"a"
    assert write.done()


async def test_writes_that_nobody_awaits_happen_in_order() -> None:
    pipe = TransformStream()
    writer = pipe.writable.getWriter()
    for chunk in (b"a", memoryview(b"b"), b"c"):
        writer.write(chunk)
    writer.close()
    assert await Response(pipe.readable).text() == "abc"


async def test_text_and_writes_after_close_are_refused() -> None:
    pipe = TransformStream()
    writer = pipe.writable.getWriter()
    with pytest.raises(JsTypeError, match="received a string"):
        writer.write("text")
    writer.close()
    with pytest.raises(JsTypeError, match="closed"):
        await writer.write(b"late")


async def test_abort_reaches_the_reader_and_later_writes() -> None:
    pipe = TransformStream()
    writer = pipe.writable.getWriter()
    pending = writer.write(b"lost")
    await writer.abort(ValueError("why"))
    for use in (lambda: pending, lambda: writer.write(b"x"), pipe.readable.read_all):
        with pytest.raises(ValueError, match="why"):
            await use()


async def test_a_reader_that_cancels_fails_the_writes() -> None:
    pipe = TransformStream()
    writer = pipe.writable.getWriter()
    pending = writer.write(b"lost")
    await pipe.readable.cancel("no thanks")
    with pytest.raises(JsTypeError, match="no thanks"):
        await pending
    with pytest.raises(JsTypeError, match="no thanks"):
        await writer.write(b"more")


async def test_a_cancelled_read_of_a_pipe_loses_no_chunk() -> None:
    pipe = TransformStream()
    reader = pipe.readable.getReader()
    read = asyncio.ensure_future(reader.read())
    await asyncio.sleep(0)
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    pipe.writable.getWriter().write(b"kept")
    assert (await reader.read()).value == b"kept"


async def test_a_writer_locks_its_stream() -> None:
    writable = TransformStream().writable
    writer = writable.getWriter()
    assert writable.locked
    for use in (writable.getWriter, writable.close, writable.abort):
        with pytest.raises(JsTypeError, match="locked to a writer"):
            use()
    writer.releaseLock()
    await writable.abort()


async def test_a_pipe_moves_everything_and_closes() -> None:
    pipe = TransformStream()
    moving = asyncio.ensure_future(ReadableStream(_Source(b"a", b"b")).pipeTo(pipe.writable))
    assert await pipe.readable.read_all() == b"ab"
    await moving


async def test_a_cancelled_pipe_breaks_its_destination() -> None:
    pipe = TransformStream()
    moving = asyncio.ensure_future(ReadableStream(_Source(b"a", b"b")).pipeTo(pipe.writable))
    await asyncio.sleep(0)
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    with pytest.raises(JsTypeError, match="aborted"):
        await pipe.readable.read_all()
