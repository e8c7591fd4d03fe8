"""Descriptors and memory that run out cost an answer or two, never the server, its data or its log."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.ledger import Ledgers, Outcome, write_project
from tests.simulation.server_process import Connection, Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

DESCRIPTORS = 64
OBJECTS = 300
CLIENTS = 8
RECOVERS_WITHIN_S = 5.0
LOG_LINES_MAX = 80
MEMORY_LEFT = 256 << 20


def serve(root: Path, *, wrapper: tuple[str, ...] = ()) -> Server:
    write_project(root)
    return Server(root, command=("serve", "--json-logs", "--log-level", "warn"), wrapper=wrapper)


@pytest.fixture
def poor(tmp_path: Path) -> Iterator[Server]:
    """A server that may open few files."""
    limited = f'ulimit -n {DESCRIPTORS}; exec "$0" "$@"'
    server = serve(tmp_path, wrapper=("sh", "-c", limited))
    server.start()
    yield server
    server.end(signal.SIGKILL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server as any."""
    server = serve(tmp_path)
    server.start()
    yield server
    server.end(signal.SIGKILL)


def output(server: Server) -> str:
    return (server.root / "output").read_text()


async def append_to_many(ledgers: Ledgers, server: Server, first: int, step: int) -> set[Outcome]:
    """Append twice to every object from `first` on, `step` apart."""
    async with Connection(server.port) as connection:
        return {
            await ledgers.append(connection, f"ledger-{number}")
            for _ in range(2)
            for number in range(first, OBJECTS, step)
        }


async def test_more_objects_than_descriptors_take_turns(poor: Server) -> None:
    ledgers = Ledgers()
    assert await append_to_many(ledgers, poor, 0, 1) == {Outcome.acknowledged}
    await ledgers.read_all(poor.port)
    assert output(poor) == ""


async def test_more_clients_than_descriptors_hear_clearly_what_became_of_their_writes(
    poor: Server,
) -> None:
    ledgers = Ledgers()
    await asyncio.gather(
        *(append_to_many(ledgers, poor, first, CLIENTS) for first in range(CLIENTS))
    )
    outcomes = [each for record in ledgers.records.values() for each in record.outcomes.values()]
    assert outcomes.count(Outcome.acknowledged) > len(outcomes) // 4
    assert set(ledgers.codes) <= {"too-many-files"}
    await ledgers.read_all(poor.port)
    assert output(poor).count("\n") < LOG_LINES_MAX
    assert "Traceback" not in output(poor)
    poor.end(signal.SIGKILL)
    poor.start()
    await ledgers.read_all(poor.port)


async def test_connections_that_take_every_descriptor_are_no_outage(poor: Server) -> None:
    ledgers = Ledgers()
    async with Connection(poor.port) as connection:
        for number in range(30):
            await ledgers.append(connection, f"ledger-{number}")
        crowd = [
            await asyncio.open_connection("127.0.0.1", poor.port) for _ in range(2 * DESCRIPTORS)
        ]
        await asyncio.sleep(0.3)
        outcomes = [
            await ledgers.append(connection, f"{kind}-{number}")
            for number in range(30)
            for kind in ("ledger", "new")
        ]
        assert Outcome.acknowledged in outcomes
        assert set(ledgers.codes) <= {"too-many-files"}
        for _, writer in crowd:
            writer.close()
        began_s = time.monotonic()
        for name in tuple(ledgers.records):
            while await ledgers.append(connection, name) is not Outcome.acknowledged:
                assert time.monotonic() - began_s < RECOVERS_WITHIN_S, ledgers.codes
                await asyncio.sleep(0.02)
    await ledgers.read_all(poor.port)
    assert output(poor).count("\n") < LOG_LINES_MAX, output(poor)[-2000:]
    assert output(poor).count("Traceback") <= 1


async def test_a_handler_without_memory_fails_alone(server: Server) -> None:
    ledgers = Ledgers()
    async with Connection(server.port) as connection:
        await ledgers.append(connection, "greedy")
        await ledgers.append(connection, "modest")
        used = int(Path(f"/proc/{server.pid}/statm").read_text().split()[0]) * 4096
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_AS)
        resource.prlimit(server.pid, resource.RLIMIT_AS, (used + MEMORY_LEFT, hard))
        for action in ("exhaust", "allocate", "recurse"):
            answer = await connection.ask(f"/greedy/{action}?")
            assert answer.status == 500
            assert json.loads(answer.body)["code"] == "internal"
            assert await ledgers.append(connection, "modest") is Outcome.acknowledged
            assert await ledgers.append(connection, "greedy") is Outcome.acknowledged
        await ledgers.read(connection, "greedy")
        await ledgers.read(connection, "modest")
    assert server.is_running
    assert output(server).count("\n") < LOG_LINES_MAX
