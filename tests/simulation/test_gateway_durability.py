"""What the gateway has decided is still decided after `kill -9`: limits and circuits."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from server_process import Answer, Connection, Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

ENTRY = '''
from dohost.gateway import Gateway, Service, entrypoint, expose


class GatewayDO(Gateway):
    """The gateway of this test."""


class FragileServiceDO(Service):
    """Fails while its switch is on."""

    @expose("GET /ping")
    async def ping(self) -> str:
        if await self.ctx.storage.get("broken"):
            raise RuntimeError("broken")
        return "pong"

    @expose("POST /switch", aggregate=True)
    async def switch(self, broken: bool) -> bool:
        await self.ctx.storage.put("broken", broken)
        return broken


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


def project(root: Path, *, rpm: int, burst: int, timeout_ms: int = 30_000) -> Server:
    """Write the program and return its server."""
    (root / "entry.py").write_text(ENTRY)
    (root / "wrangler.toml").write_text(
        CONFIG % {"rpm": rpm, "burst": burst, "timeout_ms": timeout_ms}
    )
    return Server(root)


async def ask(server: Server, path: str, **options: str) -> Answer:
    async with Connection(server.port) as connection:
        return await connection.ask(path, **options)


async def switch(server: Server, *, broken: bool) -> None:
    body = json.dumps({"broken": broken})
    answer = await ask(server, "/fragile/switch", method="POST", body=body)
    assert answer.status == 200, answer


async def state_of(server: Server) -> str:
    answer = await ask(server, "/api/circuit-breaker/status")
    state: str = json.loads(answer.body)["fragile"]["state"]
    return state


async def test_no_limit_is_granted_anew_after_kill_9(tmp_path: Path) -> None:
    server = project(tmp_path, rpm=1, burst=10)
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
    server.end()


async def test_a_crash_in_mid_burst_never_grants_more_than_the_burst(tmp_path: Path) -> None:
    server = project(tmp_path, rpm=1, burst=10)
    granted = 0
    for _ in range(4):
        server.start()
        answers = await asyncio.gather(*[ask(server, "/fragile/ping") for _ in range(3)])
        granted += sum(answer.status == 200 for answer in answers)
        server.end(signal.SIGKILL)
    assert 3 <= granted <= 10


async def test_an_open_circuit_is_still_open_after_kill_9(tmp_path: Path) -> None:
    server = project(tmp_path, rpm=100_000, burst=10_000)
    server.start()
    await switch(server, broken=True)
    failures = [await ask(server, "/fragile/ping") for _ in range(6)]
    assert [answer.status for answer in failures] == [500] * 5 + [503]
    assert 1 <= int(failures[-1].headers["retry-after"]) <= 30
    server.end(signal.SIGKILL)
    server.start()
    assert await state_of(server) == "open"
    assert (await ask(server, "/fragile/ping")).status == 503
    server.end()


async def test_half_open_lets_exactly_three_probes_through_a_hundred_requests(
    tmp_path: Path,
) -> None:
    server = project(tmp_path, rpm=100_000, burst=10_000, timeout_ms=1500)
    server.start()
    await switch(server, broken=True)
    for _ in range(5):
        await ask(server, "/fragile/ping")
    assert await state_of(server) == "open"
    await asyncio.sleep(1.6)
    answers = await asyncio.gather(*[ask(server, "/fragile/ping") for _ in range(100)])
    counts = {status: sum(a.status == status for a in answers) for status in (500, 503)}
    # The first failing probe opens the circuit again, so at most three get through.
    assert 1 <= counts[500] <= 3
    assert counts[500] + counts[503] == 100
    await asyncio.sleep(1.6)
    # The switch itself is the first of the three probes that succeed.
    await switch(server, broken=False)
    assert await state_of(server) == "half-open"
    assert [(await ask(server, "/fragile/ping")).status for _ in range(2)] == [200, 200]
    assert await state_of(server) == "closed"
    server.end()
