"""Hostile requests to the whole gateway, over a socket: none gets a 5xx, a leak or silence, or costs much."""

from __future__ import annotations

import asyncio
import resource
import time
import tomllib
from pathlib import Path

import pytest
from hostile_requests import REQUESTS, Hostile, get

from dohost.testing import IsolatedHost

WRANGLER = Path(__file__).parents[2] / "wrangler.toml"
EVERYTHING_ALLOWED = tomllib.loads(WRANGLER.read_text())["vars"]["GATEWAY"] | {
    "rate_limits": {"free": {"rpm": 100_000, "burst": 10_000}},
    "auth": {"anonymous": "all"},
    "limiter": {"failed_auth": {"rpm": 100_000, "burst": 10_000}},
}
TIME_MAX_S = 5.0
GROWTH_BYTES_MAX = 50 << 20
HEALTHY = get("/api/v1/users/bob")


class Client:
    """One raw connection."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Client:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()

    async def ask(self, raw: bytes) -> tuple[int, str, bytes]:
        """Send a request; return status, fields and body of its answer."""
        self._writer.write(raw)
        async with asyncio.timeout(TIME_MAX_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            fields = head.lower()
            size = int(fields.partition("content-length: ")[2].partition("\r\n")[0] or 0)
            return int(head.split(" ")[1]), fields, await self._reader.readexactly(size)


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def problem_of(port: int, hostile: Hostile) -> str | None:
    """Send one request, then a good one behind it; return what is wrong with the answers."""
    before = rss_bytes()
    async with Client(port) as client:
        try:
            status, fields, body = await client.ask(hostile.raw)
        except (TimeoutError, EOFError, ConnectionError) as error:
            return f"no answer: {error!r}"
        if status != hostile.status:
            return f"{status} {body[:200]!r}"
        if any(
            leak in body for leak in (b"Traceback", b'File "', b".py", str(Path.home()).encode())
        ):
            return f"leaks {body[:200]!r}"
        if "x-injected" in fields:
            return "a field was injected"
        if status >= 400 and not (
            "problem+json" in fields or "graphql-response" in fields or b'"errors"' in body
        ):
            return f"no problem document: {fields}"
        if "connection: close" not in fields and (await client.ask(HEALTHY))[0] != 200:
            return "the next request of the connection was not answered"
    async with Client(port) as client:
        if (await client.ask(HEALTHY))[0] != 200:
            return "the next client was not answered"
    if rss_bytes() - before > GROWTH_BYTES_MAX:
        return f"took {(rss_bytes() - before) >> 20} MiB"
    return None


@pytest.mark.dohost(vars={"GATEWAY": EVERYTHING_ALLOWED})
async def test_no_hostile_request_gets_a_5xx_a_leak_or_silence(dohost: IsolatedHost) -> None:
    async with dohost.listen() as url:
        port = int(url.rpartition(":")[2])
        await problem_of(
            port, REQUESTS[0]
        )  # what is loaded at the first request is nobody's growth
        slow, wrong = {}, {}
        for hostile in REQUESTS:
            began = time.perf_counter()
            problem = await problem_of(port, hostile)
            if problem is not None:
                wrong[hostile.name] = problem
            slow[hostile.name] = time.perf_counter() - began
    assert not wrong, "\n".join(f"{name} (not {problem})" for name, problem in wrong.items())
    assert max(slow.values()) < TIME_MAX_S


def test_the_tables_are_as_large_as_promised() -> None:
    assert len({hostile.name for hostile in REQUESTS}) == len(REQUESTS) >= 200
