"""Ten thousand hibernated WebSockets on one server: what each costs, and that nobody else feels them."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from tests.simulation.crowd import SOCKETS, WARM_UP, crowded, stay

BYTES_EACH_MAX = 20 * 1024
P99_MAX_S = 0.020


def allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard < count:
            pytest.skip(f"this machine allows {hard} open files, {count} are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_ten_thousand_hibernated_sockets(tmp_path: Path) -> None:
    allow_descriptors(SOCKETS + 500)
    async with crowded(tmp_path) as crowd:
        await crowd.grow_to(WARM_UP)
        await crowd.wait_hibernated()
        before = crowd.rss_bytes()
        await crowd.grow_to(SOCKETS)
        await crowd.wait_hibernated()
        each = (crowd.rss_bytes() - before) / (SOCKETS - WARM_UP)
        found = await crowd.latencies(10)
        p99 = found[int(len(found) * 0.99)]
        print(
            f"\n{each / 1024:.1f} KiB each; p50 {found[len(found) // 2] * 1e3:.2f} ms, "
            f"p99 {p99 * 1e3:.2f} ms of {len(found)} requests"
        )
        assert each <= BYTES_EACH_MAX
        assert p99 < P99_MAX_S

        for number in (0, 1234, SOCKETS - 1):
            assert await crowd.visitors[number].say("hi") == f"room-{number} hi"
        assert await crowd.get("/live") == "3"
        assert crowd.lost() == 0
        crowd.server.kill()
        async with asyncio.timeout(5):
            await asyncio.gather(*(visitor.closed for visitor in crowd.visitors))


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_a_crowd_stays_and_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.simulation.crowd.SAMPLE_EVERY_S", 3.0)
    monkeypatch.setattr("tests.simulation.crowd.SPEAK_EVERY_S", 0.2)
    async with crowded(tmp_path) as crowd:
        await crowd.grow_to(50)
        seen = [now async for now in stay(crowd, minutes=0.05)]
        assert [now.lost for now in seen] == [0] * len(seen) != []
        crowd.visitors[7].close()
        await crowd.visitors[7].closed
        assert crowd.lost() == 1
