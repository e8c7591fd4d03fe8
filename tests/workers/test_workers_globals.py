"""JavaScript's small globals: timers, text, symbols, signals."""

from __future__ import annotations

import asyncio

import pytest
import workers
from workers import Request, Response
from workers.abort import AbortController, AbortSignal
from workers.context import outbound
from workers.encoding import (
    TextDecoder,
    TextEncoder,
    atob,
    btoa,
    decodeURIComponent,
    encodeURIComponent,
)
from workers.timers import clearInterval, clearTimeout, setInterval, setTimeout

from dohost.errors import JsException, JsRangeError, JsTypeError


async def test_a_timeout_calls_once_and_an_interval_until_it_is_cleared() -> None:
    calls: list[object] = []
    ended = asyncio.Event()

    async def later(value: object) -> None:
        calls.append(value)

    def tick() -> None:
        calls.append("tick")
        if calls.count("tick") == 2:
            ended.set()

    await setTimeout(later, 0, "async")
    cleared = setTimeout(calls.append, 0, "never")
    clearTimeout(cleared)
    interval = setInterval(tick, 0)
    await ended.wait()
    clearInterval(interval)
    clearTimeout(None)
    await asyncio.sleep(0)
    assert calls == ["async", "tick", "tick"]


def test_text_and_bytes() -> None:
    assert bytes(TextEncoder.new().encode("é")) == b"\xc3\xa9"
    assert TextDecoder.new().decode(b"\xef\xbb\xbf\xc3\xa9\xff") == "é\ufffd"
    assert TextDecoder.new("latin1").decode(memoryview(b"\xe9")) == "é"
    with pytest.raises(JsTypeError, match="Failed to decode"):
        TextDecoder.new("utf-8", {"fatal": True}).decode(b"\xff")
    with pytest.raises(JsRangeError, match='"nope" is not a valid encoding'):
        TextDecoder.new("nope")


def test_base64_and_uri_components() -> None:
    assert (btoa("é"), atob("6Q"), atob(" 6Q== ")) == ("6Q==", "é", "é")
    for call in (lambda: btoa("€"), lambda: atob("*")):
        with pytest.raises(JsException, match="InvalidCharacterError"):
            call()
    assert encodeURIComponent("a b/é!'()*~") == "a%20b%2F%C3%A9!'()*~"
    assert decodeURIComponent("a%20b%2F") == "a b/"


async def test_a_signal_is_aborted_once_and_says_why() -> None:
    controller = AbortController.new()
    signal = controller.signal
    seen: list[object] = []
    signal.onabort = lambda event: seen.append(event.type)
    signal.addEventListener("abort", lambda event: seen.append(event.target.reason))
    signal.addEventListener("abort", seen.clear)
    signal.removeEventListener("abort", seen.clear)
    joined = AbortSignal.any([AbortSignal(), signal])
    signal.throwIfAborted()
    controller.abort("enough")
    controller.abort("again")
    assert seen == ["abort", "enough"]
    assert (signal.aborted, joined.aborted, joined.reason) == (True, True, "enough")
    with pytest.raises(JsException, match="enough"):
        signal.throwIfAborted()
    assert str(AbortSignal.abort().reason) == "AbortError: The operation was aborted"


class Slow:
    """Answers when it is told to, and says whether a request was given up."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.requests = 0

    def fetch(self, request: Request) -> asyncio.Future[Response]:
        self.requests += 1
        return self.answer


async def test_a_signal_gives_a_fetch_up() -> None:
    slow = Slow()
    outbound.set(slow)
    controller = AbortController()
    pending = asyncio.ensure_future(workers.fetch("http://x/", signal=controller.signal))
    await asyncio.sleep(0)
    controller.abort()
    with pytest.raises(JsException, match="AbortError: The operation was aborted"):
        await pending
    assert slow.answer.cancelled()
    with pytest.raises(JsException, match="AbortError"):
        await workers.fetch("http://x/", signal=controller.signal)
    assert slow.requests == 1


async def test_a_signal_that_is_not_aborted_changes_nothing() -> None:
    slow = Slow()
    outbound.set(slow)
    controller = AbortController()
    pending = asyncio.ensure_future(workers.fetch("http://x/", signal=controller.signal))
    await asyncio.sleep(0)
    slow.answer.set_result(Response("ok"))
    assert await (await pending).text() == "ok"
    controller.abort()


async def test_a_signal_can_have_a_timeout() -> None:
    signal = AbortSignal.timeout(0)
    aborted = asyncio.Event()
    signal.addEventListener("abort", lambda _: aborted.set())
    await aborted.wait()
    assert str(signal.reason) == "TimeoutError: The operation was aborted due to timeout"
