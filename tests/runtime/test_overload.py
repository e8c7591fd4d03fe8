"""Overload: pure decisions at each bound, and what a caller of a crowded object hears."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from host_bench import Bench
from workers import RpcTarget

from dohost.errors import JsException
from dohost.runtime.overload import (
    QUEUED_MAX,
    QUEUED_S_MAX,
    QUEUED_TOO_LONG,
    REQUESTS_PER_WINDOW_MAX,
    TOO_FREQUENT,
    TOO_MANY_QUEUED,
    WINDOW_S,
    Load,
)

COUNTER = """
import asyncio

class Counter(DurableObject):
    async def close_gate(self):
        self.opened = asyncio.Event()
        await self.ctx.blockConcurrencyWhile(self.opened.wait)

    async def pause(self):
        self.going_on = asyncio.Event()
        await self.going_on.wait()

    async def hello(self, greet=None):
        return "hello"

    async def hand_out(self):
        return lambda: "called back"

    async def stop(self):
        self.ctx.abort("on purpose")
"""


@pytest.fixture
async def bench(tmp_path: Path):
    bench = Bench(tmp_path, is_strict=True)
    await bench.run(COUNTER)
    yield bench
    await bench.host.drain(grace_s=0)


# The decision


def test_a_window_takes_ten_thousand_requests_and_not_one_more() -> None:
    load = Load()
    answers = [load.arrive(100.0, queued=0, waited_s=0) for _ in range(REQUESTS_PER_WINDOW_MAX)]
    assert set(answers) == {None}
    assert load.arrive(100.0 + WINDOW_S - 0.001, queued=0, waited_s=0) == TOO_FREQUENT
    assert load.arrive(100.0 + WINDOW_S, queued=0, waited_s=0) is None


def test_a_queue_has_a_longest_length_and_a_longest_wait() -> None:
    load = Load()
    assert load.arrive(1.0, queued=QUEUED_MAX - 1, waited_s=QUEUED_S_MAX) is None
    assert load.arrive(1.0, queued=QUEUED_MAX, waited_s=0) == TOO_MANY_QUEUED
    assert load.arrive(1.0, queued=1, waited_s=QUEUED_S_MAX + 0.001) == QUEUED_TOO_LONG


# Through a host


async def crowd(bench: Bench) -> tuple[asyncio.Future[object], object]:
    """Close the object's gate until its event is set; return the call that did, and the instance."""
    call = asyncio.ensure_future(bench.stub().close_gate())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return call, bench.actor().instance


def assert_overloaded(error: JsException, message: str) -> None:
    assert error.message == message
    assert (error.overloaded, error.retryable, error.durableObjectReset) == (True, False, False)


async def test_who_comes_to_a_full_queue_hears_that_the_object_is_overloaded(bench: Bench) -> None:
    closing, instance = await crowd(bench)
    stub = bench.stub()
    waiting = [asyncio.ensure_future(stub.hello()) for _ in range(QUEUED_MAX)]
    with pytest.raises(JsException) as caught:
        await stub.hello()
    assert_overloaded(caught.value, TOO_MANY_QUEUED)
    assert await bench.stub("other").hello() == "hello"
    instance.opened.set()
    assert set(await asyncio.gather(*waiting)) == {"hello"}
    await closing
    assert await stub.hello() == "hello"


async def test_nothing_joins_a_queue_whose_first_has_waited_too_long(bench: Bench) -> None:
    closing, instance = await crowd(bench)
    first = asyncio.ensure_future(bench.stub().hello())
    await asyncio.sleep(0)
    bench.clock.advance(QUEUED_S_MAX)
    second = asyncio.ensure_future(bench.stub().hello())
    await asyncio.sleep(0)
    bench.clock.advance(1)
    with pytest.raises(JsException) as caught:
        await bench.stub().hello()
    assert_overloaded(caught.value, QUEUED_TOO_LONG)
    instance.opened.set()
    assert await asyncio.gather(first, second) == ["hello", "hello"]
    await closing
    assert await bench.stub().hello() == "hello"


async def test_what_goes_on_after_a_long_pause_is_not_waiting_in_the_queue(bench: Bench) -> None:
    paused = asyncio.ensure_future(bench.stub().pause())
    await asyncio.sleep(0)
    bench.clock.advance(QUEUED_S_MAX + 1)
    closing, instance = await crowd(bench)
    instance.going_on.set()
    await asyncio.sleep(0)
    assert bench.actor().gate.waiting() == 1
    waiting = asyncio.ensure_future(bench.stub().hello())
    await asyncio.sleep(0)
    instance.opened.set()
    assert await waiting == "hello"
    await asyncio.gather(closing, paused)


async def test_callbacks_wait_in_the_same_queue(bench: Bench) -> None:
    call_back = await bench.stub().hand_out()
    closing, instance = await crowd(bench)
    first = asyncio.ensure_future(call_back())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(bench.stub().hello())
    await asyncio.sleep(0)
    bench.clock.advance(QUEUED_S_MAX + 1)
    with pytest.raises(JsException) as caught:
        await bench.stub().hello()
    assert_overloaded(caught.value, QUEUED_TOO_LONG)
    instance.opened.set()
    assert await asyncio.gather(first, second) == ["called back", "hello"]
    await closing


async def test_calls_of_an_ended_instance_are_no_load_for_the_next(bench: Bench) -> None:
    stub = bench.stub()
    for _ in range(2):
        with pytest.raises(JsException, match="on purpose"):
            await stub.stop()
    loads = bench.host.classes["app-Counter"]._loads
    assert loads is not None
    assert loads._by_id == {}


async def test_a_refused_call_gives_back_what_it_lent(bench: Bench) -> None:
    closing, instance = await crowd(bench)
    waiting = [asyncio.ensure_future(bench.stub().hello()) for _ in range(QUEUED_MAX)]
    disposed = []

    class Target(RpcTarget):
        def dispose(self) -> None:
            disposed.append(self)

    with pytest.raises(JsException):
        await bench.stub().hello(Target())
    await asyncio.sleep(0)
    assert len(disposed) == 1
    instance.opened.set()
    await asyncio.gather(*waiting, closing)


async def test_more_than_a_thousand_requests_a_second_for_ten_seconds_are_too_many(
    bench: Bench,
) -> None:
    stub = bench.stub()
    for _ in range(REQUESTS_PER_WINDOW_MAX):
        await stub.hello()
    with pytest.raises(JsException) as caught:
        await stub.hello()
    assert_overloaded(caught.value, TOO_FREQUENT)
    bench.clock.advance(WINDOW_S)
    assert await stub.hello() == "hello"


async def test_without_strict_mode_nothing_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.run(COUNTER)
    closing, instance = await crowd(bench)
    waiting = [asyncio.ensure_future(bench.stub().hello()) for _ in range(QUEUED_MAX + 1)]
    await asyncio.sleep(0)
    bench.clock.advance(QUEUED_S_MAX + 1)
    waiting.append(asyncio.ensure_future(bench.stub().hello()))
    await asyncio.sleep(0)
    instance.opened.set()
    assert set(await asyncio.gather(*waiting)) == {"hello"}
    await closing
    await bench.host.drain(grace_s=0)
