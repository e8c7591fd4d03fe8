"""`kill -9` under load: no acknowledged send, put, insert or deletion of a binding is lost.

One program has a queue with a consumer, a KV namespace, an R2 bucket and a D1 database. The consumer notes
what it is given in an object: every acknowledged message has to arrive at least once, over any number of
crashes of the server in which it is produced and consumed. What crashes leave of bodies and of copies is
gone after the next start, and nothing complains.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.binding_program import KINDS, blobs_of, whole, write_project
from tests.simulation.server_process import Connection, Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

CLIENTS = 32
CYCLES = int(os.environ.get("DOHOST_BINDING_KILL_CYCLES", "10"))


class History:
    """What was acknowledged, by kind."""

    def __init__(self, chance: random.Random) -> None:
        self.acknowledged: dict[str, set[int]] = {kind: set() for kind in KINDS}
        self._chance = chance
        self._next = 0

    async def load(self, server: Server) -> None:
        """Write through random bindings on one connection until the server is gone."""
        try:
            async with Connection(server.port) as connection:
                while True:
                    kind, number = self._chance.choice(KINDS), self._next
                    self._next += 1
                    answer = await connection.ask(f"/write/{kind}", method="POST", body=str(number))
                    assert answer.status == 200, answer
                    self.acknowledged[kind].add(number)
        except (OSError, EOFError):
            return

    async def lost(self, server: Server, kind: str) -> set[int]:
        """Return what was acknowledged and is not there."""
        numbers = self.acknowledged[kind]
        return numbers - await whole(server.port, kind, numbers)


def assert_nothing_complains(server: Server) -> None:
    """Look at the directory with the commands for that, and at every file of a simulator."""
    for command in (["check"], ["doctor", "--persist-to", "data"]):
        done = subprocess.run(
            [sys.executable, "-m", "dohost", *command],
            cwd=server.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    files = [each for each in server.root.glob("data/v3/**/*.sqlite") if "do" not in each.parts]
    assert len(files) == 4
    for file in files:
        with contextlib.closing(sqlite3.connect(file)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    # Of everything that is written under another name first.
    assert [*server.root.glob("data/**/*.new"), *server.root.glob("data/**/*.importing")] == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Give a server of the program, which ends with the test."""
    write_project(tmp_path)
    server = Server(tmp_path)
    yield server
    server.end()


async def test_no_acknowledged_write_of_a_binding_is_lost_by_kill_9(server: Server) -> None:
    chance = random.Random(30)
    history = History(chance)
    for cycle in range(CYCLES):
        server.start()
        if not cycle:
            async with Connection(server.port) as connection:
                await connection.ask("/write/table", method="POST", body="0")
        clients = [asyncio.create_task(history.load(server)) for _ in range(CLIENTS)]
        await asyncio.sleep(0.6 + chance.random() * 0.8)
        server.end(signal.SIGKILL)
        await asyncio.gather(*clients)
    server.start()
    for kind in ("kv", "r2", "parts", "removed", "d1"):
        assert await history.lost(server, kind) == set()
    deadline = time.monotonic() + 60
    while lost := await history.lost(server, "queue"):
        assert time.monotonic() < deadline, f"{len(lost)} messages did not arrive"
        await asyncio.sleep(0.2)
    async with Connection(server.port) as connection:
        # With the first body of a run goes what the crashes before it have left.
        await connection.ask("/write/r2", method="POST", body="0")
    bucket = server.root / "data/v3/r2/bucket"
    assert {each.name for each in (bucket / "blobs").iterdir()} == blobs_of(bucket)
    assert server.end(signal.SIGTERM) == 0
    assert_nothing_complains(server)
    total = sum(map(len, history.acknowledged.values()))
    # Slower than 100 a second, and the moments between writes would hardly be hit.
    assert total > CYCLES * 100, total
    assert all(len(numbers) > CYCLES * 10 for numbers in history.acknowledged.values())
