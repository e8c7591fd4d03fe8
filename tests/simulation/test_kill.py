"""`kill -9` at any moment: whatever was acknowledged is there, and nothing is half there."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import Connection, Server, write_project

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

CLIENTS = 64
OBJECTS = 100
CYCLES = int(os.environ.get("DOHOST_KILL_CYCLES", "20"))


class History:
    """What was acknowledged, and what was asked for, per object."""

    def __init__(self) -> None:
        self.acknowledged: Counter[str] = Counter()
        self.attempted: Counter[str] = Counter()
        self.highest: Counter[str] = Counter()

    async def load(self, server: Server, chance: random.Random) -> None:
        """Increment random counters on one connection until the server is gone."""
        try:
            async with Connection(server.port) as connection:
                while True:
                    name = f"counter-{chance.randrange(OBJECTS)}"
                    self.attempted[name] += 1
                    value = int(await connection.get(f"/{name}/increment"))
                    self.acknowledged[name] += 1
                    self.highest[name] = max(self.highest[name], value)
        except (OSError, EOFError):
            return

    async def check(self, server: Server) -> None:
        """Compare every object with its history."""
        async with Connection(server.port) as connection:
            for name, attempted in self.attempted.items():
                value, twin = (await connection.get(f"/{name}/read")).split(",")
                assert value == twin, f"{name} is torn: {value} and {twin}"
                assert int(value) >= self.highest[name], f"{name} lost an acknowledged increment"
                assert self.acknowledged[name] <= int(value) <= attempted, name


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Give a server of the counter program, which ends with the test."""
    write_project(tmp_path)
    server = Server(tmp_path)
    yield server
    server.end()


async def test_no_acknowledged_increment_is_lost_by_kill_9(server: Server) -> None:
    history, chance = History(), random.Random(20)
    for _ in range(CYCLES):
        server.start()
        await history.check(server)
        clients = [asyncio.create_task(history.load(server, chance)) for _ in range(CLIENTS)]
        await asyncio.sleep(0.3 + chance.random() * 0.7)
        server.end(signal.SIGKILL)
        await asyncio.gather(*clients)
    server.start()
    await history.check(server)
    server.end(signal.SIGTERM)
    total = sum(history.acknowledged.values())
    assert len(history.attempted) == OBJECTS
    # Slower than 100 a second, and the moments between writes would hardly be hit.
    assert total > CYCLES * 100, total


async def test_no_acknowledged_increment_is_lost_by_sigterm(server: Server) -> None:
    history, chance = History(), random.Random(21)
    for _ in range(3):
        server.start()
        await history.check(server)
        clients = [asyncio.create_task(history.load(server, chance)) for _ in range(CLIENTS)]
        await asyncio.sleep(0.5)
        assert server.end(signal.SIGTERM) == 0
        await asyncio.gather(*clients)
    server.start()
    await history.check(server)


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
