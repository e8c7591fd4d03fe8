"""Section 12.K: Response, Request, FormData and fetch of the SDK, as their tests have them."""

from __future__ import annotations

import json
from http import HTTPMethod, HTTPStatus

import pytest
import workers
from workers import Blob, File, FormData, Headers, Request, Response


class Test:
    pass


async def test_K9_json_responses() -> None:
    response = Response.json([1, 2, 3])
    assert response.headers["content-type"] == "application/json"
    assert await response.text() == "[1, 2, 3]"
    typed = Response.json({}, headers={"content-type": "application/vnd.x+json"})
    assert typed.headers["content-type"] == "application/vnd.x+json"
    for value, name in (({1}, "set"), (Test(), "Test")):
        with pytest.raises(TypeError, match=f"Object of type {name} is not JSON serializable"):
            Response.json(value)
    with pytest.raises(TypeError, match="Unsupported type in Response: Test"):
        Response(Test())


async def test_K10_responses_without_a_body_and_with_another_one() -> None:
    assert Response(None, status=204).body is None
    assert await Response(b"test").text() == "test"
    response = Response("x", HTTPStatus.CREATED, "Made", {"a": "b"})
    assert response.status == 201
    again = response.replace_body("y")
    assert (again.status, again.status_text, again.headers["a"]) == (201, "Made", "b")
    assert await again.text() == "y"
    assert repr(Response.json(1)) == (
        "Response(status=200, status_text='OK', content_type='application/json')"
    )


def test_K11_a_redirect_with_another_status_is_refused() -> None:
    with pytest.raises(ValueError, match="502"):
        Response.redirect("", 502)
    assert Response.redirect("http://x/y", 301).headers["location"] == "http://x/y"


async def test_K12_requests() -> None:
    for headers in ({"A": "1"}, [("A", "1")], Headers({"A": "1"})):
        assert Request("http://x", headers=headers).headers.get("a") == "1"
    request = Request(
        "https://test.com",
        method="POST",
        body="b",
        headers=[("set-cookie", "a=1"), ("set-cookie", "b=2"), ("accept", "x, y")],
    )
    assert request.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert request.headers.get_all("accept") == ["x, y"]
    assert request.method == "POST"
    assert request.method is HTTPMethod.POST
    assert repr(request) == "Request(method='POST', url='https://test.com/')"
    twin = request.clone()
    assert (await request.text(), await twin.text()) == ("b", "b")
    with pytest.raises(OSError, match="Body already used"):
        await request.text()


def test_K13_fetch_takes_keywords_only() -> None:
    with pytest.raises(TypeError) as raised:
        workers.fetch("http://x/", {"headers": {}})
    assert str(raised.value) == "fetch() takes 1 positional argument but 2 were given"


async def test_K14_forms_with_blobs_and_files() -> None:
    form = FormData({"text": "a"})
    form.append("text", "b")
    form.append("blob", Blob("content", "a/b"))
    form.append("file", File(["content"], "name.txt", "text/plain"))
    assert (form["text"], form.get_all("text"), "blob" in form) == ("a", ["a", "b"], True)
    sent = Request("http://x/", method="POST", body=form)
    read = await sent.form_data()
    assert (read["file"].name, await read["file"].text()) == ("name.txt", "content")
    assert (read["blob"].content_type, await read["blob"].text()) == ("a/b", "content")


async def test_conversions_by_hand_are_those_of_a_call() -> None:
    def function() -> None: ...

    converted = workers.python_to_rpc({"n": 1.0, "f": function, 1: b"x"})
    assert json.dumps(converted["n"]) == "1"
    assert converted["f"] is function
    assert type(converted["1"]) is memoryview
    assert workers.python_from_rpc(converted) is converted
    with pytest.raises(TypeError, match="tuple'> cannot be sent over RPC"):
        workers.python_to_rpc((1,))


def test_cloudflares_own_module_can_be_imported_from_javascript() -> None:
    module = workers.import_from_javascript("cloudflare:workers")
    assert module.RpcTarget is workers.RpcTarget
    assert module.DurableObject is workers.DurableObject
    assert module.env is workers.env
    with pytest.raises(ImportError, match="cloudflare:email"):
        workers.import_from_javascript("cloudflare:email")
