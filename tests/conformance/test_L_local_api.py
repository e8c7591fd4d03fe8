"""Rows L9 and L11: what the server answers beside the program."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from host_bench import Bench

from dohost.cli.local_api import ObjectsApi
from dohost.runtime.inspection import Inspector
from tests.server.server_loopback import Loopback, serving

CODE = """
class Default(WorkerEntrypoint):
    async def scheduled(self, controller, env, ctx):
        if controller.cron == "fail":
            raise ValueError("no")
"""


@pytest.fixture
async def server(bench: Bench) -> AsyncIterator[Loopback]:
    await bench.run(CODE)
    api = ObjectsApi("token", bench.host, lambda: Inspector(bench.root, (), live=frozenset))
    async with serving(bench.host.fetch, local_api=api, dev=True) as loopback:
        yield loopback


def get(target: str, host: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def test_L9_scheduled_by_hand(server: Loopback) -> None:
    host = f"localhost:{server.port}"
    plain = await server.send(get("/cdn-cgi/handler/scheduled", host))
    assert (plain.status, plain.body) == (200, b"ok")
    json = await server.send(get("/cdn-cgi/local/scheduled?format=json", host))
    assert (json.status, json.body) == (200, b'{"outcome": "ok", "noRetry": false}')
    failed = await server.send(get("/cdn-cgi/handler/scheduled?cron=fail", host))
    assert (failed.status, failed.body) == (500, b"exception")


async def test_L11_a_foreign_host_is_refused(server: Loopback) -> None:
    for target in ("/cdn-cgi/local/scheduled", "/cdn-cgi/local/api/objects", "/cdn-cgi/x"):
        answer = await server.send(get(target, host="evil.test"))
        assert (answer.status, answer.body) == (403, b"Invalid Host header")
