"""What the gateway has decided is still decided after `kill -9`: limits and circuits."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from server_process import Answer, Connection, Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

ENTRY = '''
import asyncio

from dohost.gateway import Gateway, Service, entrypoint, expose


class GatewayDO(Gateway):
    """The gateway of this test."""


class FragileServiceDO(Service):
    """Fails until a time that was set, and is slow after it."""

    @expose("GET /ping")
    async def ping(self) -> str:
        broken_until_ns = await self.ctx.storage.get("broken_until_ns") or 0
        if self.clock.realtime_ns() < broken_until_ns:
            raise RuntimeError("broken")
        if broken_until_ns:
            await asyncio.sleep(2)
        return "pong"

    @expose("POST /break", aggregate=True)
    async def break_for(self, milliseconds: int) -> bool:
        until_ns = self.clock.realtime_ns() + milliseconds * 1_000_000
        await self.ctx.storage.put("broken_until_ns", until_ns)
        return True


Default = entrypoint("GATEWAY_DO")
'''

CONFIG = """
name = "fragile"
main = "entry.py"
compatibility_date = "2026-09-08"
compatibility_flags = ["python_workers"]
[[durable_objects.bindings]]
name = "GATEWAY_DO"
class_name = "GatewayDO"
[[durable_objects.bindings]]
name = "FRAGILE_DO"
class_name = "FragileServiceDO"
[[migrations]]
tag = "v1"
new_sqlite_classes = ["GatewayDO", "FragileServiceDO"]
[vars.GATEWAY.services]
fragile = { binding = "FRAGILE_DO", scope = "shared" }
[vars.GATEWAY.routes]
"/fragile/*" = "FRAGILE_DO"
[vars.GATEWAY.auth]
anonymous = "all"
[vars.GATEWAY.rate_limits]
free = { rpm = %(rpm)d, burst = %(burst)d }
[vars.GATEWAY.circuit_breaker]
threshold = 5
timeout_ms = %(timeout_ms)d
half_open_max = 3
"""


class Project(Protocol):
    def __call__(self, *, rpm: int, burst: int, timeout_ms: int = 30_000) -> Server: ...


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Give a function that writes the program and returns its server, which ends with the test."""
    servers: list[Server] = []

    def make(*, rpm: int, burst: int, timeout_ms: int = 30_000) -> Server:
        settings = {"rpm": rpm, "burst": burst, "timeout_ms": timeout_ms}
        (tmp_path / "entry.py").write_text(ENTRY)
        (tmp_path / "wrangler.toml").write_text(CONFIG % settings)
        servers.append(Server(tmp_path))
        return servers[-1]

    yield make
    for server in servers:
        server.end()


async def ask(server: Server, path: str, **options: str) -> Answer:
    async with Connection(server.port) as connection:
        return await connection.ask(path, **options)


async def break_for(server: Server, milliseconds: int) -> None:
    body = json.dumps({"milliseconds": milliseconds})
    answer = await ask(server, "/fragile/break", method="POST", body=body)
    assert answer.status == 200, answer


async def state_of(server: Server) -> str:
    answer = await ask(server, "/api/circuit-breaker/status")
    state: str = json.loads(answer.body)["fragile"]["state"]
    return state


async def test_no_limit_is_granted_anew_after_kill_9(project: Project) -> None:
    server = project(rpm=1, burst=10)
    server.start()
    answers = [await ask(server, "/fragile/ping") for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    refused = answers[-1]
    assert refused.headers["ratelimit-policy"].startswith('"free";q=1;w=60')
    assert refused.headers["ratelimit"].startswith('"free";r=0;t=')
    assert int(refused.headers["retry-after"]) >= 1
    server.end(signal.SIGKILL)
    server.start()
    assert (await ask(server, "/fragile/ping")).status == 429


async def test_a_crash_in_mid_burst_never_grants_more_than_the_burst(project: Project) -> None:
    server = project(rpm=1, burst=10)
    granted = 0
    for _ in range(4):
        server.start()
        answers = await asyncio.gather(*[ask(server, "/fragile/ping") for _ in range(3)])
        granted += sum(answer.status == 200 for answer in answers)
        server.end(signal.SIGKILL)
    assert 3 <= granted <= 10


async def test_an_open_circuit_is_still_open_after_kill_9(project: Project) -> None:
    server = project(rpm=100_000, burst=10_000)
    server.start()
    await break_for(server, 60_000)
    failures = [await ask(server, "/fragile/ping") for _ in range(6)]
    assert [answer.status for answer in failures] == [500] * 5 + [503]
    assert 1 <= int(failures[-1].headers["retry-after"]) <= 30
    server.end(signal.SIGKILL)
    server.start()
    assert await state_of(server) == "open"
    assert (await ask(server, "/fragile/ping")).status == 503


async def test_half_open_lets_exactly_three_of_a_hundred_requests_through_and_closes(
    project: Project,
) -> None:
    server = project(rpm=100_000, burst=10_000, timeout_ms=1500)
    server.start()
    await break_for(server, 1000)
    for _ in range(5):
        assert (await ask(server, "/fragile/ping")).status == 500
    assert await state_of(server) == "open"
    await asyncio.sleep(1.6)
    # The service is well again but takes two seconds: all hundred arrive while the probes run.
    answers = await asyncio.gather(*[ask(server, "/fragile/ping") for _ in range(100)])
    assert Counter(answer.status for answer in answers) == {200: 3, 503: 97}
    assert await state_of(server) == "closed"
