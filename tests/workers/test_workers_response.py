"""Response: what it takes, what it shows, what a host reads."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from workers import Blob, FetchResponse, FormData, Headers, ReadableStream, Response, WebSocketPair
from workers.url_object import URLSearchParams
from workers.values import JsDict, Uint8Array

from dohost.errors import JsRangeError, JsTypeError


def test_positions_mean_what_they_mean_on_cloudflare() -> None:
    client, _ = WebSocketPair()
    response = Response(None, 101, "Switch", {"a": "b"}, client)
    assert (response.status, response.status_text, response.web_socket) == (101, "Switch", client)
    assert response.raw_header_items() == [("a", "b")]


def test_repr_shows_status_and_content_type() -> None:
    assert repr(Response.json([1])) == (
        "Response(status=200, status_text='OK', content_type='application/json')"
    )


@pytest.mark.parametrize(
    ("body", "content", "content_type"),
    [
        ("é", "é".encode(), "text/plain;charset=UTF-8"),
        ("", b"", "text/plain;charset=UTF-8"),
        (b"test", b"test", None),
        (None, None, None),
        (Uint8Array(b"x"), b"x", None),
        (Blob("x", "text/css").js_object, b"x", "text/css"),
        (
            URLSearchParams({"a": "b c"}),
            b"a=b+c",
            "application/x-www-form-urlencoded;charset=UTF-8",
        ),
    ],
)
def test_a_body_implies_its_content_type(body: object, content: bytes, content_type: str) -> None:
    response = Response(body)
    assert response.headers.get("content-type") == content_type
    assert Response(body, headers={"Content-Type": "a/b"}).headers.get("content-type") == "a/b"
    expected = [] if content_type is None else [("content-type", content_type)]
    assert Response(body).raw_header_items() == expected
    assert response.host_body() == content


async def _chunks() -> AsyncIterator[bytes]:
    yield b"x"


@pytest.mark.parametrize(
    "body", [{}, [], 1, bytearray(b"x"), memoryview(b"x"), Blob("x"), object(), _chunks(), ("x",)]
)
def test_other_bodies_are_refused(body: object) -> None:
    with pytest.raises(TypeError) as caught:
        Response(body)
    assert str(caught.value) == f"Unsupported type in Response: {type(body).__name__}"


async def test_json_is_a_maker_and_a_reader() -> None:
    response = Response.json([1, 2, 3])
    assert response.headers.get("content-type") == "application/json"
    assert await response.clone().text() == "[1, 2, 3]"
    assert await response.json() == [1, 2, 3]
    custom = Response.from_json({}, 201, "Made", {"content-type": "application/x+json"})
    assert (custom.status, custom.status_text) == (201, "Made")
    assert custom.raw_header_items() == [("content-type", "application/x+json")]


@pytest.mark.parametrize("data", [{1}, object(), b"x"])
def test_json_refuses_what_json_cannot_hold(data: object) -> None:
    with pytest.raises(
        TypeError, match=f"Object of type {type(data).__name__} is not JSON serializable"
    ):
        Response.json(data)


@pytest.mark.parametrize("status", [200, 599, HTTPStatus.NOT_FOUND])
def test_a_status_within_range_passes(status: int) -> None:
    assert Response("x", status=status).status == int(status)


@pytest.mark.parametrize("status", [0, 101, 199, 600])
def test_a_status_out_of_range_is_refused(status: int) -> None:
    with pytest.raises(JsRangeError, match="in the range 200 to 599"):
        Response(None, status=status)


def test_a_websocket_needs_status_101() -> None:
    client, _ = WebSocketPair()
    with pytest.raises(
        JsRangeError, match=r"Responses with a WebSocket must have status code 101\."
    ):
        Response(None, web_socket=client)


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_null_body_status_has_no_body(status: int) -> None:
    assert Response(None, status).body is None
    assert Response("", status).raw_header_items() == []
    with pytest.raises(JsTypeError, match="cannot have a body"):
        Response("x", status)


def test_redirect_checks_its_status() -> None:
    response = Response.redirect("https://x.example/a")
    assert (response.status, response.headers.get("location")) == (302, "https://x.example/a")
    with pytest.raises(ValueError, match="502"):
        Response.redirect("", 502)


async def test_replace_body_keeps_status_and_headers() -> None:
    response = Response("a", 201, "Made", {"x-a": "1"}).replace_body("b")
    assert (response.status, response.status_text, response.headers.get("x-a")) == (
        201,
        "Made",
        "1",
    )
    assert await response.text() == "b"


async def test_a_response_from_a_response_takes_over_its_body() -> None:
    first = Response("a", 201)
    second = Response(first)
    assert (second.status, await second.text()) == (201, "a")
    assert first.body_used
    with pytest.raises(
        ValueError, match=r"Expected no options when constructing Response from a js\.Response"
    ):
        Response(Response("a"), status=200)


async def test_a_body_is_read_once() -> None:
    response = Response("a")
    assert await response.string() == "a"
    for read in (response.text, response.json, response.memoryview, response.formData):
        with pytest.raises(OSError, match=r"^Body already used$"):
            await read()
    for use in (response.clone, response.host_body):
        with pytest.raises(OSError, match=r"^Body already used$"):
            use()


async def test_readers_convert() -> None:
    assert await Response(b"ab").memoryview() == b"ab"
    assert (await Response(FormData({"a": "b"})).formData())["a"] == "b"
    assert isinstance(Response(), FetchResponse)


def test_errors_are_raised_on_request() -> None:
    Response("x", 399).raise_for_status()
    for status in (400, 500):
        with pytest.raises(OSError, match=str(status)):
            Response("x", status).raise_for_status()


def test_cookies_are_sent_on_lines_of_their_own() -> None:
    response = Response("x", headers=[("Set-Cookie", "a"), ("Set-Cookie", "b")])
    assert response.raw_header_items() == [
        ("content-type", "text/plain;charset=UTF-8"),
        ("Set-Cookie", "a"),
        ("Set-Cookie", "b"),
    ] or response.raw_header_items() == [
        ("Set-Cookie", "a"),
        ("Set-Cookie", "b"),
        ("content-type", "text/plain;charset=UTF-8"),
    ]


def test_headers_given_are_copied() -> None:
    headers = Headers({"a": "1"})
    response = Response("x", headers=headers)
    response.headers.set("a", "2")
    assert headers.get("a") == "1"


async def test_a_gate_sees_streams_only() -> None:
    seen: list[ReadableStream] = []

    def gate(stream: ReadableStream) -> ReadableStream:
        seen.append(stream)
        return ReadableStream.from_bytes(b"gated")

    plain, streamed = Response("plain"), Response(ReadableStream.from_bytes(b"raw"))
    plain.gate_body(gate)
    streamed.gate_body(gate)
    assert len(seen) == 1
    assert (await plain.text(), await streamed.text()) == ("plain", "gated")


async def test_a_host_reads_a_stream_as_it_is() -> None:
    body = Response(ReadableStream.from_bytes(b"ab")).host_body()
    assert isinstance(body, ReadableStream)
    assert [chunk async for chunk in body.chunks()] == [b"ab"]


def test_a_host_makes_a_response_without_checks() -> None:
    response = Response.from_host(404, Headers({"a": "b"}), b"x", "http://x/")
    assert (response.status, response.url, response.ok) == (404, "http://x/", False)
    assert response.raw_header_items() == [("a", "b")]


@pytest.mark.parametrize(
    "value",
    [
        [1, 2, 3],
        "y\u00e9\ud800",
        {"a": [1.5, math.nan, True, None, 10**30], 2: 2, None: 3, True: 4, 1.5: ()},
        1e22,
        math.inf,
        JsDict(a={}),
    ],
)
def test_json_is_what_json_dumps_gives(value: object) -> None:
    assert Response.json(value)._content == json.dumps(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", {(1,): 2}])
def test_what_json_dumps_refuses_is_refused_alike(value: object) -> None:
    with pytest.raises(TypeError) as expected:
        json.dumps(value)
    with pytest.raises(TypeError) as refused:
        Response.json(value)
    assert str(refused.value) == str(expected.value)


def test_a_cycle_in_json_is_named() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(ValueError, match="Circular"):
        Response.json(value)
