"""Who may talk to a running server from the same machine: the command line, and no web page."""

from __future__ import annotations

import json

import pytest
from server_loopback import serving

from dohost.errors import CallerError
from dohost.server.local_api import ScheduledEnd, UnknownCall

PATH = "/cdn-cgi/local/api/objects"


class Api:
    token = "s3cret"

    async def call(self, name, arguments):
        if name == "objects":
            return {"asked": arguments}
        if name == "bad":
            raise CallerError("no such class")
        raise UnknownCall(f"nothing called {name}")

    async def scheduled(self, cron, time_ms):
        if time_ms is None:
            time_ms = 5
        self.ran = (cron, time_ms)
        return ScheduledEnd(outcome="exception" if cron == "fail" else "ok", noRetry=time_ms == 1)


def request(
    path: str = PATH, body: bytes = b'{"a": 1}', method: str = "POST", **changed: str | None
) -> bytes:
    fields = {
        "Host": "localhost:1",
        "Content-Type": "application/json",
        "X-Dohost-Token": "s3cret",
        "Content-Length": str(len(body)),
    }
    fields.update({name.replace("_", "-"): value for name, value in changed.items()})
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def test_a_json_post_with_the_token_is_answered() -> None:
    async with serving(local_api=Api()) as server:
        for raw in (
            request(),
            request(Origin="http://localhost:1"),
            request(Sec_Fetch_Site="none"),
        ):
            answer = await server.send(raw)
            assert (answer.status, json.loads(answer.body)) == (200, {"asked": {"a": 1}})


@pytest.mark.parametrize(
    "raw",
    [
        request(X_Dohost_Token=None),
        request(X_Dohost_Token="s3cre"),
        request(X_Dohost_Token="s3crét"),
        request(Content_Type="text/plain"),
        request(Content_Type=None),
        request(method="PUT"),
        request(Host="evil.example"),
        request(Host="localhost.evil.example"),
        request(Host="127.0.0.1.nip.io"),
        request(Origin="http://evil.example"),
        request(Origin="null"),
        request(Origin="http://localhost:2"),
        request(Origin="https://localhost:1"),
        request(Sec_Fetch_Site="cross-site"),
        request(Sec_Fetch_Site="same-site"),
        request("/cdn-cgi/other", Host="evil.example"),
        request("/cdn-cgi/other", Origin="http://evil.example"),
    ],
)
async def test_everything_else_is_forbidden(raw: bytes) -> None:
    async with serving(local_api=Api()) as server:
        assert (await server.send(raw)).status == 403


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("/cdn-cgi/local/api/none"), 404),
        (request("/cdn-cgi/local/api/bad"), 400),
        (request(body=b"[1]"), 400),
        (request(body=b"{"), 400),
        (request(body=b'{"a":' * 50_000), 400),
        (request(body=b""), 200),
        (request(Host="[::1]:8787"), 200),
        (request(Host="dev.test"), 200),
        (request("/cdn-cgi/other"), 200),
        (request("/elsewhere/cdn-cgi/", Host="other.example"), 200),
    ],
)
async def test_calls_have_their_status(raw: bytes, status: int) -> None:
    async with serving(local_api=Api(), local_names=("dev.test",)) as server:
        assert (await server.send(raw)).status == status


@pytest.mark.parametrize(
    ("target", "options", "status", "body", "ran"),
    [
        ("/cdn-cgi/handler/scheduled", {}, 200, b"ok", ("", 5)),
        ("/cdn-cgi/mf/scheduled?cron=*+*+*+*+*&time=7", {}, 200, b"ok", ("* * * * *", 7)),
        ("/cdn-cgi/local/scheduled?cron=fail", {}, 500, b"exception", ("fail", 5)),
        (
            "/cdn-cgi/local/scheduled?time=1&format=json",
            {},
            200,
            b'{"outcome": "ok", "noRetry": true}',
            ("", 1),
        ),
        (
            "/__scheduled?cron=a",
            {"tests_scheduled": True},
            200,
            b"Ran scheduled event",
            ("a", 5),
        ),
    ],
)
async def test_the_scheduled_handler_is_run_by_hand(target, options, status, body, ran) -> None:
    api = Api()
    async with serving(local_api=api, **options) as server:
        answer = await server.send(request(target, method="GET", body=b""))
    assert (answer.status, answer.body, api.ran) == (status, body, ran)


async def test_a_time_that_is_none_and_a_page_elsewhere_run_nothing() -> None:
    api = Api()
    async with serving(local_api=api, tests_scheduled=True) as server:
        bad = "/cdn-cgi/local/scheduled?time=now"
        assert (await server.send(request(bad, method="GET", body=b""))).status == 400
        for path in ("/__scheduled", "/cdn-cgi/local/scheduled"):
            answer = await server.send(request(path, Host="evil.example", method="GET", body=b""))
            assert (answer.status, answer.body) == (403, b"Invalid Host header")
    assert not hasattr(api, "ran")


async def test_without_the_flag_the_test_address_is_the_programs() -> None:
    async with serving(local_api=Api()) as server:
        answer = await server.send(request("/__scheduled", method="GET", body=b""))
    assert b"Ran scheduled event" not in answer.body
