"""Who may talk to a running server from the same machine: the command line, and no web page."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from server_loopback import Answer, Client, Loopback, echo, serving

from dohost.clock import ManualClock
from dohost.errors import CallerError
from dohost.server.app import Server, ServerOptions
from dohost.server.local_api import ScheduledEnd, UnknownCall
from dohost.telemetry import Log

PATH = "/cdn-cgi/local/api/objects"
LOG = Log(lambda event: None)


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
        "Host": "localhost:PORT",
        "Content-Type": "application/json",
        "X-Dohost-Token": "s3cret",
        "Content-Length": str(len(body)),
    }
    fields.update({name.replace("_", "-"): value for name, value in changed.items()})
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def send(server: Loopback, raw: bytes) -> Answer:
    """Send a request to the port that it shall name."""
    return await server.send(raw.replace(b"PORT", b"%d" % server.port))


async def test_a_json_post_with_the_token_is_answered() -> None:
    async with serving(local_api=Api()) as server:
        for raw in (
            request(),
            request(Origin="http://localhost:PORT"),
            request(Sec_Fetch_Site="none"),
        ):
            answer = await send(server, raw)
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
        request(Host="evil.example:PORT"),
        request(Host="localhost.evil.example:PORT"),
        request(Host="127.0.0.1.nip.io:PORT"),
        request(Host="dev.test:PORT"),
        request(Host="localhost"),
        request(Host="localhost:"),
        request(Host="localhost:1"),
        request(Host="127.0.0.1:65535"),
        request(Host="localhost:1", Origin="http://localhost:1"),
        request("/cdn-cgi/other", Host="localhost:1"),
        request("/cdn-cgi/handler/scheduled", Host="localhost:1", method="GET"),
        request(Origin="http://evil.example"),
        request(Origin="null"),
        request(Origin="http://localhost:2"),
        request(Origin="https://localhost:PORT"),
        request(Sec_Fetch_Site="cross-site"),
        request(Sec_Fetch_Site="same-site"),
        request("/cdn-cgi/other", Host="evil.example:PORT"),
        request("/cdn-cgi/other", Origin="http://evil.example"),
    ],
)
async def test_everything_else_is_forbidden(raw: bytes) -> None:
    async with serving(local_api=Api()) as server:
        assert (await send(server, raw)).status == 403


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("/cdn-cgi/local/api/none"), 404),
        (request("/cdn-cgi/local/api/bad"), 400),
        (request(body=b"[1]"), 400),
        (request(body=b"{"), 400),
        (request(body=b'{"a":' * 50_000), 400),
        (request(body=b""), 200),
        (request(Host="[::1]:PORT"), 200),
        (request(Host="dev.test:PORT"), 200),
        (request("/cdn-cgi/other"), 200),
        (request("/elsewhere/cdn-cgi/", Host="other.example"), 200),
    ],
)
async def test_calls_have_their_status(raw: bytes, status: int) -> None:
    async with serving(local_api=Api(), local_names=("dev.test",)) as server:
        assert (await send(server, raw)).status == status


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
        answer = await send(server, request(target, method="GET", body=b""))
    assert (answer.status, answer.body, api.ran) == (status, body, ran)


async def test_a_time_that_is_none_and_a_page_elsewhere_run_nothing() -> None:
    api = Api()
    async with serving(local_api=api, tests_scheduled=True) as server:
        bad = "/cdn-cgi/local/scheduled?time=now"
        assert (await send(server, request(bad, method="GET", body=b""))).status == 400
        for path in ("/__scheduled", "/cdn-cgi/local/scheduled"):
            answer = await send(
                server, request(path, Host="evil.example:PORT", method="GET", body=b"")
            )
            assert (answer.status, answer.body) == (403, b"Invalid Host header")
    assert not hasattr(api, "ran")


async def test_without_the_flag_the_test_address_is_the_programs() -> None:
    async with serving(local_api=Api()) as server:
        answer = await send(server, request("/__scheduled", method="GET", body=b""))
    assert b"Ran scheduled event" not in answer.body


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address only")
async def test_the_address_that_is_listened_on_is_a_name_of_the_server() -> None:
    server = Server(
        echo, ServerOptions(ip="127.0.0.2", port=0), clock=ManualClock(), log=LOG, local_api=Api()
    )
    url = await server.start()
    try:
        opened = await asyncio.open_connection("127.0.0.2", int(url.rpartition(":")[2]))
        client = Client(*opened)
        for host, status in ((url.removeprefix("http://"), 200), ("127.0.0.3:PORT", 403)):
            raw = request(Host=host).replace(b"PORT", url.rpartition(":")[2].encode())
            await client.write(raw)
            assert (await client.answer()).status == status
        await client.leave()
    finally:
        await server.stop(0.05)
