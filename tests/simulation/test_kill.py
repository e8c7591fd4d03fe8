"""`kill -9` at any moment: whatever was acknowledged is there, and nothing is half there."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import Server, write_project

from tests.simulation.kill_cycles import run_cycles

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

CYCLES = int(os.environ.get("DOHOST_KILL_CYCLES", "50"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Give a server of the counter program, which ends with the test."""
    write_project(tmp_path)
    server = Server(tmp_path)
    yield server
    server.end()


async def test_no_crash_loses_or_tears_what_was_acknowledged(tmp_path: Path) -> None:
    result = await run_cycles(tmp_path, CYCLES, seed=20)
    print(f"\n{result}")
    assert not result.problems
    assert result.cycles == CYCLES
    assert result.histories >= CYCLES * 20
    # Slower than 100 a second, and the moments between writes would hardly be hit.
    assert result.acknowledged_per_s >= 100
    assert result.unknown > CYCLES


async def test_an_alarm_that_is_overdue_after_kill_9_fires_at_once_without_a_request(
    server: Server,
) -> None:
    server.start()
    assert await server.get("/alarm/schedule") == "set"
    server.end(signal.SIGKILL)
    await asyncio.sleep(1.2)
    server.start()
    time.sleep(0.5)
    server.end(signal.SIGKILL)
    server.start()
    assert await server.get("/alarm/fired") == "1"
