"""Redirects of objects and services: `fetch` follows them by default. Each answer is workerd's own."""

from __future__ import annotations

import json

import pytest
from host_bench import Bench
from workers import Request

from dohost.config import ServiceBinding

# /STATUS/N is redirected N times; `to` says where to instead, all else tells what arrived.
CODE = """
import json
from urllib.parse import parse_qs, urlsplit
from workers import Request

async def answer(who, request):
    url = urlsplit(request.url)
    query = parse_qs(url.query, keep_blank_values=True)
    body = await request.text()
    _, *parts = url.path.split("/")
    if len(parts) == 2 and parts[1].isdigit():
        status, left = int(parts[0]), int(parts[1])
        further = f"/{status}/{left - 1}" if left > 1 else "/end"
        headers = {} if "none" in query else {"location": query.get("to", [further])[0]}
        return Response("moved", status=status, headers=headers)
    fields = {n: v for n, v in request.headers.items() if n in ("authorization", "content-type", "cookie")}
    told = dict(who=who, method=request.method, url=request.url, body=body, redirect=request.redirect, **fields)
    return Response(json.dumps(told))

class Counter(DurableObject):
    async def fetch(self, request):
        return await answer("object", request)

class Named(WorkerEntrypoint):
    async def fetch(self, request):
        return await answer("service", request)

class Caller(DurableObject):
    async def ask(self, target, url, options):
        if target == "object":
            to = self.env.COUNTER.getByName("a")
        else:
            to = self.env.SERVICE
        options = json.loads(options)
        if options.pop("stream", False):
            options["body"] = Response("hello").body
        if options.pop("as_request", False):
            request = Request(url, **options)
            response = await to.fetch(request)
        else:
            response = await to.fetch(url, **options)
        return json.dumps([response.status, response.url, response.redirected, await response.text()])

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return await self.env.COUNTER.getByName("a").fetch(request)
"""
TARGETS = pytest.mark.parametrize("target", ["object", "service"])
SENT = {
    "authorization": "secret",
    "cookie": "a=b",
    "content-type": "text/x",
}
POST = {"method": "POST", "body": "hello", "headers": SENT}


class Asking:
    """Fetches of an object, told as plain values."""

    def __init__(self, bench: Bench, target: str) -> None:
        self._bench = bench
        self._target = target

    async def __call__(self, path: str, **options: object) -> tuple[int, str, bool, str]:
        stub = self._bench.stub("caller", class_name="Caller")
        text = await stub.ask(self._target, f"http://host{path}", json.dumps(options))
        status, url, redirected, body = json.loads(text)
        return status, url, redirected, body

    async def arrived(self, path: str, **options: object) -> dict[str, str]:
        """Return what arrived at the end of the redirects."""
        status, url, redirected, body = await self(path, **options)
        told: dict[str, str] = json.loads(body)
        assert (status, url, redirected) == (200, told["url"], True)
        assert told.pop("who") == self._target
        # Whoever receives a request does not follow redirects for its sender.
        assert told.pop("redirect") == "manual"
        return told


@pytest.fixture
async def ask(bench: Bench, target: str) -> Asking:
    services = (ServiceBinding(binding="SERVICE", service="app", entrypoint="Named"),)
    await bench.run(bench.config(CODE, services=services))
    return Asking(bench, target)


@TARGETS
async def test_a_redirect_is_followed_to_the_same_target(ask: Asking) -> None:
    plain = {"method": "GET", "url": "http://host/end", "body": ""}
    assert await ask.arrived("/302/1") == plain
    assert await ask.arrived("/302/1", as_request=True) == plain
    assert await ask.arrived("/307/3") == plain
    assert await ask.arrived("/302/1#mine") == plain


@TARGETS
async def test_manual_gives_the_redirect_itself(ask: Asking) -> None:
    for options in ({}, {"as_request": True}):
        status, _, redirected, body = await ask("/302/1", redirect="manual", **options)
        assert (status, redirected, body) == (302, False, "moved")


@TARGETS
@pytest.mark.parametrize(
    ("path", "method", "arrives", "body"),
    [
        ("/301/1", "POST", "GET", ""),
        ("/302/1", "POST", "GET", ""),
        ("/303/1", "POST", "GET", ""),
        ("/303/1", "PUT", "GET", ""),
        ("/302/1", "PUT", "PUT", "hello"),
        ("/307/1", "POST", "POST", "hello"),
        ("/308/2", "POST", "POST", "hello"),
    ],
)
async def test_the_method_and_the_body_go_by_the_standard(
    ask: Asking, path: str, method: str, arrives: str, body: str
) -> None:
    told = await ask.arrived(path, **{**POST, "method": method})
    assert told == {"method": arrives, "url": "http://host/end", "body": body, **SENT}


@TARGETS
async def test_a_body_that_is_a_stream_is_not_sent_twice(ask: Asking) -> None:
    told = await ask.arrived("/303/1", method="POST", stream=True)
    assert (told["method"], told["body"]) == ("GET", "")
    for path in ("/307/1", "/302/1"):
        with pytest.raises(Exception, match="A request with a one-time-use body"):
            await ask(path, method="POST", stream=True)


@TARGETS
async def test_twenty_redirects_are_followed_and_no_more(ask: Asking) -> None:
    assert (await ask.arrived("/302/20"))["url"] == "http://host/end"
    with pytest.raises(
        Exception, match=r"Too many redirects\.http://host/302/21, http://host/302/20, "
    ) as raised:
        await ask("/302/21")
    assert str(raised.value).endswith(", http://host/302/1")


@TARGETS
async def test_another_origin_is_the_same_target_and_gets_no_credentials(ask: Asking) -> None:
    told = await ask.arrived("/302/1?to=https://elsewhere.example:99/x", headers=SENT)
    left = {name: value for name, value in SENT.items() if name != "authorization"}
    assert told == {"method": "GET", "url": "https://elsewhere.example:99/x", "body": "", **left}


@TARGETS
async def test_a_place_is_seen_from_where_the_request_was(ask: Asking) -> None:
    assert (await ask.arrived("/302/1?to=end%3Fq%23frag"))["url"] == "http://host/302/end?q"
    assert (await ask.arrived("/302/1?to=//b/c"))["url"] == "http://b/c"


@TARGETS
@pytest.mark.parametrize("to", ["http://", "data:text/plain,hi"])
async def test_a_place_that_is_none_is_an_error(ask: Asking, to: str) -> None:
    with pytest.raises(Exception, match=r"Invalid Location header; unable to follow redirect\."):
        await ask(f"/302/1?to={to}")


@TARGETS
@pytest.mark.parametrize("path", ["/302/1?none", "/302/1?to=", "/300/1", "/305/1"])
async def test_what_leads_nowhere_is_the_answer(ask: Asking, path: str) -> None:
    status, _, redirected, body = await ask(path)
    assert (status, redirected, body) == (int(path[1:4]), False, "moved")


@pytest.mark.parametrize("target", ["object"])
async def test_a_request_that_is_passed_on_brings_its_redirect_back(
    ask: Asking, bench: Bench
) -> None:
    arrived = Request.from_host("GET", "http://localhost/302/1", (), None)
    response = await bench.host.fetch(arrived)
    assert (response.status, response.headers.get("location")) == (302, "/end")


@pytest.mark.parametrize("target", ["object"])
async def test_a_used_body_is_refused(ask: Asking, bench: Bench) -> None:
    request = Request("http://host/307/1", method="POST", body="hello")
    stub = bench.stub()
    assert (await stub.fetch(request)).redirected
    with pytest.raises(OSError, match="Body already used"):
        await stub.fetch(request)
