"""Request, its body and its URL."""

from __future__ import annotations

from http import HTTPMethod

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from workers import Blob, FormData, Headers, ReadableStream, Request
from workers.url import normalize, parse

from dohost.errors import JsTypeError


def test_the_url_is_normalized_and_shown() -> None:
    request = Request("https://test.com")
    assert request.url == "https://test.com/"
    assert repr(request) == "Request(method='GET', url='https://test.com/')"


@pytest.mark.parametrize(
    ("given_url", "shown"),
    [
        ("HTTP://Test.COM:80/a", "http://test.com/a"),
        ("https://test.com:443", "https://test.com/"),
        ("http://test.com:8080?x=1", "http://test.com:8080/?x=1"),
        ("http://do/users/alice", "http://do/users/alice"),
        ("http://do/a/../b/./c", "http://do/b/c"),
        ("http://do/a/%2e%2E/b", "http://do/b"),
        ("http://do/..", "http://do/"),
        ("http://do/a b", "http://do/a%20b"),
        ("http://do/é?q=é", "http://do/%C3%A9?q=%C3%A9"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://u:p@h/", "http://u:p@h/"),
        ("  http://h/x\n", "http://h/x"),
        ("http:\\\\h\\x", "http://h/x"),
        ("http://h:8787/x", "http://h:8787/x"),
        ("http://h/a//b/", "http://h/a//b/"),
        ("http://h/x#frag", "http://h/x#frag"),
    ],
)
def test_a_url_is_written_as_the_standard_says(given_url: str, shown: str) -> None:
    assert normalize(given_url) == shown


@pytest.mark.parametrize(
    "url", ["", "/path", "users/1", "http://", "http://a b/", "http://h:99999/", "http://h:x/"]
)
def test_a_url_that_is_not_absolute_is_refused(url: str) -> None:
    with pytest.raises(TypeError, match="Invalid URL: "):
        Request(url)


@given(
    st.from_regex(
        r"https?://[a-z]{1,5}(:[0-9]{1,4})?(/[a-z.%A-Z0-9 ]{0,5}){0,3}(\?[a-z=&]{0,5})?",
        fullmatch=True,
    )
)
def test_normalizing_twice_changes_nothing(url: str) -> None:
    once = normalize(url)
    assert normalize(once) == once
    assert parse(once).href == once


def test_the_method_is_an_http_method_where_it_is_one() -> None:
    request = Request("http://x/", method="post")
    assert request.method is HTTPMethod.POST
    assert request.method == "POST"
    assert Request("http://x/", method=HTTPMethod.PUT).method is HTTPMethod.PUT
    assert Request("http://x/", method="PURGE").method == "PURGE"
    with pytest.raises(JsTypeError, match="Invalid HTTP method string: a b"):
        Request("http://x/", method="a b")


@pytest.mark.parametrize("method", ["GET", "HEAD", "get"])
def test_get_and_head_have_no_body(method: str) -> None:
    with pytest.raises(JsTypeError, match="Request with a GET or HEAD method cannot have a body"):
        Request("http://x/", method=method, body="x")


async def test_a_get_that_arrived_with_a_body_keeps_it_in_a_copy() -> None:
    def arrived() -> Request:
        return Request.from_host("GET", "http://x/", (), b"body")

    assert await Request(arrived(), headers={"a": "b"}).text() == "body"
    assert Request(arrived(), body=None).body is None
    posted = Request("http://x/", method="POST", body="body")
    for source, options in ((arrived(), {"body": "other"}), (posted, {"method": "GET"})):
        with pytest.raises(JsTypeError, match="cannot have a body"):
            Request(source, **options)  # type: ignore[arg-type]  # rows of a table


async def test_a_body_is_read_once() -> None:
    request = Request("http://x/", method="POST", body='{"a": 1.0}')
    assert not request.body_used
    assert await request.json(parse_float=str) == {"a": "1.0"}
    assert request.body_used
    for read in (
        request.text,
        request.bytes,
        request.json,
        request.buffer,
        request.blob,
        request.form_data,
    ):
        with pytest.raises(OSError, match=r"^Body already used$"):
            await read()
    with pytest.raises(OSError, match=r"^Body already used$"):
        request.clone()


async def test_a_request_without_a_body_reads_as_empty_any_number_of_times() -> None:
    request = Request("http://x/")
    assert request.body is None
    assert await request.text() == ""
    assert await request.bytes() == b""
    assert not request.body_used


async def test_a_clone_is_read_on_its_own() -> None:
    request = Request(
        "http://x/", method="POST", body="hello", headers={"x-a": "1"}, cf={"colo": "ZRH"}
    )
    twin = request.clone()
    assert await request.text() == await twin.text() == "hello"
    assert twin.headers.get("X-A") == "1"
    assert twin.cf.colo == "ZRH"


async def test_a_clone_of_a_stream_is_read_on_its_own() -> None:
    request = Request("http://x/", method="POST", body=ReadableStream.from_bytes(b"hello"))
    twin = request.clone()
    assert await twin.text() == "hello"
    assert await request.text() == "hello"


async def test_a_request_from_a_request_takes_over_its_body() -> None:
    first = Request(
        "http://x/a", method="POST", body="hello", headers={"x-a": "1"}, redirect="manual"
    )
    second = Request(first, headers={"x-b": "2"})
    assert (second.method, second.url, second.redirect) == ("POST", "http://x/a", "manual")
    assert second.headers.get("x-a") is None
    assert await second.text() == "hello"
    assert first.body_used
    with pytest.raises(OSError, match="Body already used"):
        Request(first)


def test_a_changed_copy_leaves_the_original_alone() -> None:
    first = Request("http://x/", headers={"a": "1"})
    second = Request(first)
    second.headers.set("a", "2")
    assert first.headers.get("a") == "1"


async def test_readers_convert() -> None:
    def post(body: object) -> Request:
        return Request("http://x/", method="POST", body=body, headers={"content-type": "text/x"})

    assert (await post(b"ab").buffer()).to_bytes() == b"ab"
    blob = await post("ab").blob()
    assert isinstance(blob, Blob)
    assert (blob.size, blob.content_type) == (2, "text/x")
    assert await post(b"\xef\xbb\xbfa\xff").text() == "a\ufffd"
    stream = post("ab").body
    assert [chunk async for chunk in stream] == [b"ab"]


async def test_reading_the_stream_uses_the_body_up() -> None:
    request = Request("http://x/", method="POST", body="ab")
    async for chunk in request.body:
        assert chunk.to_py() == b"ab"
    assert request.body_used
    with pytest.raises(OSError, match="Body already used"):
        await request.text()


async def test_a_form_is_sent_and_read_back() -> None:
    request = Request("http://x/", method="POST", body=FormData({"a": "1"}))
    assert request.headers.get("content-type").startswith("multipart/form-data; boundary=")
    assert (await request.form_data())["a"] == "1"


def test_a_host_request_keeps_what_the_parser_gave() -> None:
    pairs = [
        ("Host", "x"),
        ("Accept", "a"),
        ("accept", "b"),
        ("Set-Cookie", "1"),
        ("set-cookie", "2"),
    ]
    for raw in (
        CIMultiDictProxy(CIMultiDict(pairs)),
        pairs,
        [(name.encode(), value.encode()) for name, value in pairs],
    ):
        request = Request.from_host("GET", "http://x/a", raw, None, {"colo": "ZRH"})
        assert request.headers.get("ACCEPT") == "a, b"
        assert request.headers.get_all("set-cookie") == ["1", "2"]
        assert request.cf.colo == "ZRH"
        assert request.method is HTTPMethod.GET
        assert request.host_body() is None
        with pytest.raises(JsTypeError, match="immutable"):
            request.headers.set("x", "y")


def test_the_other_properties_have_their_defaults() -> None:
    request = Request("http://x/")
    assert request.cf is None
    assert (request.redirect, request.cache, request.mode) == ("follow", "default", "cors")
    assert (request.credentials, request.integrity, request.destination) == ("same-origin", "", "")
    assert (request.referrer, request.referrer_policy) == ("about:client", "")
    assert not request.keepalive
    assert not request.is_history_navigation
    assert request.js_object is request
    for mode in ("sometimes", "error"):
        with pytest.raises(JsTypeError, match="Invalid redirect value"):
            Request("http://x/", redirect=mode)


class TestHeaders:
    def test_fields_read_as_on_cloudflare(self) -> None:
        headers = Headers({"X-B": " 2 ", "X-A": "1, 1"})
        assert list(headers) == headers.keys() == ["x-a", "x-b"]
        assert headers["X-a"] == "1, 1"
        assert headers["missing"] is None
        assert headers.get("missing", "d") == "d"
        assert headers.get_all("x-a") == ["1, 1"]
        assert headers.get_all("missing") is None
        assert "X-A" in headers
        assert "y" not in headers
        assert dict(headers) == {"x-a": "1, 1", "x-b": "2"}
        assert headers.raw_items() == [("X-B", "2"), ("X-A", "1, 1")]
        assert len(headers) == 2

    def test_only_cookies_keep_their_lines(self) -> None:
        headers = Headers([("a", "1"), ("A", "2"), ("Set-Cookie", "x"), ("set-cookie", "y")])
        assert headers.get("a") == "1, 2"
        assert headers.getSetCookie() == headers.get_all("Set-Cookie") == ["x", "y"]
        assert headers.get("set-cookie") == "x, y"
        assert headers.items() == [("a", "1, 2"), ("set-cookie", "x"), ("set-cookie", "y")]
        headers.set("set-cookie", "z")
        headers.append("a", "3")
        headers.delete("b")
        assert headers.items() == [("a", "1, 2, 3"), ("set-cookie", "z")]
        headers.delete("set-cookie")
        headers.delete("A")
        assert headers.items() == []

    @pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b"])
    def test_a_value_cannot_split_a_response(self, value: str) -> None:
        with pytest.raises(JsTypeError, match="Invalid header value"):
            Headers({"a": value})

    @pytest.mark.parametrize("name", ["", "a b", "a:", "a\n", "é", 1])
    def test_a_name_is_a_token(self, name: str) -> None:
        with pytest.raises(JsTypeError, match="Invalid header name"):
            Headers({name: "x"})

    @pytest.mark.parametrize("init", ["a: b", 1, [("a",)], ["ab:"]])
    def test_other_types_are_refused(self, init: object) -> None:
        with pytest.raises(TypeError):
            Headers(init)

    def test_a_copy_is_equal_and_apart(self) -> None:
        first = Headers({"a": "1"})
        second = Headers(first)
        assert first == second == first.copy()
        second.set("a", "2")
        assert first != second


async def test_a_get_that_arrived_with_a_body_can_be_copied_but_not_made() -> None:
    def arrived() -> Request:
        return Request.from_host("GET", "http://x/", ((b"a", b"b"),), b"text")

    assert await Request(arrived(), headers={"c": "d"}).text() == "text"
    post = Request("http://x/", method="POST", body="text")
    for made in (lambda: Request(arrived(), body="x"), lambda: Request(post, method="GET")):
        with pytest.raises(JsTypeError, match="GET or HEAD"):
            made()
