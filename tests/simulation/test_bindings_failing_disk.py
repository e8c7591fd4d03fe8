"""A disk that is full or fails under bindings: clear answers, nothing lost, nothing lied, all heals by itself."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.binding_program import KINDS, blobs_of, whole, write_project
from tests.simulation.faulty_disk import Fault, FaultyDisk, Kind
from tests.simulation.ledger import NOT_APPLIED, STATUS_OF
from tests.simulation.server_process import Connection, Server
from tests.simulation.system_calls import Supervisor, is_available
from tests.simulation.test_full_disk import fill, small_disk

__all__ = ["small_disk"]
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

PROJECT = Path(__file__).parents[2]
RECOVERS_WITHIN_S = 5.0
FAULT_S = 0.3
ROUNDS = 40
LOG_LINES_MAX = 400
# Where each kind is kept, below the data directory.
PLACES = {"queue": "queues", "kv": "kv", "r2": "r2", "parts": "r2", "removed": "r2", "d1": "d1"}


class Clients:
    """What was asked for and what was heard: acknowledged, or promised not to be there."""

    def __init__(self, server: Server) -> None:
        self.acknowledged: dict[str, set[int]] = {kind: set() for kind in KINDS}
        self.refused: dict[str, set[int]] = {kind: set() for kind in KINDS}
        self.codes: Counter[str] = Counter()
        self._server = server
        self._numbers = itertools.count(1)

    async def write(self, connection: Connection, kind: str) -> bool:
        """Write once; return whether it was acknowledged."""
        number = next(self._numbers)
        answer = await asyncio.wait_for(
            connection.ask(f"/write/{kind}", method="POST", body=str(number)), 10
        )
        if answer.status == 200:
            self.acknowledged[kind].add(number)
            return True
        code = json.loads(answer.body)["code"]
        assert answer.status == STATUS_OF[code], answer
        self.codes[code] += 1
        if code in NOT_APPLIED and kind != "removed":
            self.refused[kind].add(number)
        return False

    async def write_all(self, rounds: int) -> None:
        """Write in every way, some times."""
        async with Connection(self._server.port) as connection:
            for kind in KINDS * rounds:
                await self.write(connection, kind)

    async def recover(self, *, since_s: float) -> None:
        """See every kind of write go well again, in time."""
        async with Connection(self._server.port) as connection:
            for kind in KINDS:
                while not await self.write(connection, kind):
                    assert time.monotonic() - since_s < RECOVERS_WITHIN_S, (kind, self.codes)
                    await asyncio.sleep(0.05)

    async def look(self) -> None:
        """Compare what is there with what was heard."""
        port = self._server.port
        for kind in KINDS:
            if kind != "queue":
                assert await whole(port, kind, self.acknowledged[kind]) == self.acknowledged[kind]
        deadline_s = time.monotonic() + RECOVERS_WITHIN_S
        sent = self.acknowledged["queue"]
        while await whole(port, "queue", sent) != sent:
            assert time.monotonic() < deadline_s, "messages did not arrive"
            await asyncio.sleep(0.1)
        for kind, numbers in self.refused.items():
            assert not await whole(port, kind, numbers), f"{kind} was not applied, and is there"


def assert_no_blob_is_left(server: Server) -> None:
    bucket = server.root / "data/v3/r2/bucket"
    assert {each.name for each in (bucket / "blobs").iterdir()} == blobs_of(bucket)


def begin(server: Server) -> Clients:
    server.start()
    return Clients(server)


async def create_table(server: Server) -> None:
    async with Connection(server.port) as connection:
        await connection.ask("/write/table", method="POST", body="0")


async def test_a_full_disk_refuses_what_bindings_are_given_until_there_is_room(
    tmp_path: Path, small_disk: Path
) -> None:
    write_project(tmp_path)
    server = Server(tmp_path, command=("serve", "--json-logs", "--log-level", "warn"))
    try:
        clients = begin(server)
        await create_table(server)
        await clients.write_all(3)
        ballast = small_disk / "ballast"
        fill(ballast)
        await clients.write_all(10)
        async with Connection(server.port) as connection:
            # Room for a body, but not for its row.
            for pages in (1, 2, 3) * 3:
                os.truncate(ballast, ballast.stat().st_size - pages * 4096)
                for kind in ("r2", "parts"):
                    await clients.write(connection, kind)
                fill(ballast)
        assert clients.codes["storage-full"] > 20, clients.codes
        assert set(clients.codes) <= {"storage-full", "storage-failed", "outcome-unknown"}
        for kind in ("kv", "r2", "parts", "removed", "d1"):
            there = clients.acknowledged[kind]
            assert await whole(server.port, kind, there) == there
        ballast.unlink()
        await clients.recover(since_s=time.monotonic())
        await clients.look()
        assert_no_blob_is_left(server)
        assert (tmp_path / "output").read_text().count("\n") < LOG_LINES_MAX
        server.end(signal.SIGKILL)
        server.start()
        await clients.look()
    finally:
        server.end(signal.SIGKILL)


class Watched:
    """A server whose system calls can be made to fail."""

    def __init__(self, root: Path) -> None:
        self.disk = FaultyDisk()
        self._supervisor = Supervisor(root, self.disk.decide)
        write_project(root)
        self.server = Server(
            root,
            command=("serve", "--json-logs", "--log-level", "warn"),
            wrapper=(
                *("env", f"PYTHONPATH={PROJECT}", sys.executable),
                *("-m", "tests.simulation.faulted_server", self._supervisor.address, "-"),
            ),
        )

    def close(self) -> None:
        """End it."""
        self.disk.repair()
        self.server.end(signal.SIGKILL)
        self._supervisor.close()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A server to be failed, not started."""
    watched = Watched(tmp_path.resolve())
    yield watched
    watched.close()


@pytest.mark.skipif(not is_available(), reason="needs Linux with seccomp's user notification")
async def test_whatever_call_of_a_binding_fails_nothing_is_lost_and_all_others_go_on(
    watched: Watched,
) -> None:
    chance, server = random.Random(7), watched.server
    clients = begin(server)
    await create_table(server)
    kinds = [Kind.write_full, Kind.write_fails, Kind.write_short, Kind.sync_fails]
    kinds += [Kind.create_full, Kind.open_many]
    hits = 0
    for index in range(ROUNDS):
        place = chance.choice(sorted(set(PLACES.values())))
        kind = kinds[index % len(kinds)]
        number = 1 + int(chance.expovariate(0.2))
        watched.disk.arm(
            Fault(
                kind=kind,
                number=number,
                lasts=chance.random() < 0.5,
                prefix=f"{server.root / 'data/v3' / place}/",
            )
        )
        stops_s = time.monotonic() + FAULT_S
        await asyncio.gather(*[load(clients, server, place, stops_s) for _ in range(4)])
        hits += watched.disk.hits
        is_killed = index % 4 == 3
        if is_killed:
            server.end(signal.SIGKILL)
        repaired_s = watched.disk.repair()
        if is_killed:
            server.start()
        else:
            await clients.recover(since_s=repaired_s)
        await clients.look()
    await clients.recover(since_s=time.monotonic())
    server.end(signal.SIGKILL)
    server.start()
    await clients.write_all(1)
    await clients.look()
    assert_no_blob_is_left(server)
    assert hits > ROUNDS, hits
    assert {"storage-full", "storage-failed", "outcome-unknown"} <= set(clients.codes)
    assert "Traceback" not in (server.root / "output").read_text()


async def load(clients: Clients, server: Server, place: str, stops_s: float) -> None:
    """Write in every way; what is kept elsewhere than at `place` may not fail."""
    async with Connection(server.port) as connection:
        for kind in itertools.cycle(KINDS):
            if time.monotonic() > stops_s:
                return
            is_kept = await clients.write(connection, kind)
            assert is_kept or PLACES[kind] == place, f"{kind} failed with {place}"
