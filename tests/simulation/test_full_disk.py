"""A disk that is really full: writes are refused with 507, nothing is lost, and space is all it takes to heal."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.ledger import Ledgers, Outcome, write_project
from tests.simulation.server_process import Connection, Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

NAMES = tuple(f"ledger-{index}" for index in range(5))
RECOVERS_WITHIN_S = 5.0
DISK_BYTES = 8 << 20
TRIES = 60
LOG_LINES_MAX = 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose objects have something to lose, not started."""
    write_project(tmp_path)
    flags = ("--json-logs", "--log-level", "warn", "--evict-after", "1")
    server = Server(tmp_path, command=("serve", *flags))
    yield server
    server.end(signal.SIGKILL)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB in the place of the data directory."""
    disk = tmp_path / "data"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(ballast: Path) -> None:
    """Take all the room that is left."""
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, bytes(size))
    finally:
        os.close(descriptor)


def log_lines(server: Server) -> list[str]:
    return (server.root / "output").read_text().splitlines()


async def write_to_all(ledgers: Ledgers, server: Server, *, rounds: int) -> set[Outcome]:
    """Append to old objects, and each time to a new one."""
    outcomes = set()
    async with Connection(server.port) as connection:
        for number in range(rounds):
            for name in (*NAMES, f"new-{len(ledgers.records)}-{number}"):
                outcomes.add(await ledgers.append(connection, name))
    return outcomes


async def recover(ledgers: Ledgers, server: Server) -> None:
    """See every object take a write again, in time and in the same process."""
    began_s = time.monotonic()
    async with Connection(server.port) as connection:
        for name in tuple(ledgers.records):
            while await ledgers.append(connection, name) is not Outcome.acknowledged:
                assert time.monotonic() - began_s < RECOVERS_WITHIN_S, name
    assert server.is_running


async def test_a_full_disk_refuses_writes_until_there_is_room(
    server: Server, small_disk: Path
) -> None:
    server.start()
    ledgers = Ledgers()
    assert await write_to_all(ledgers, server, rounds=8) == {Outcome.acknowledged}
    ballast = small_disk / "ballast"
    fill(ballast)
    # What the logs have room for already is kept yet.
    while Outcome.acknowledged in await write_to_all(ledgers, server, rounds=1):
        pass
    await write_to_all(ledgers, server, rounds=TRIES // len(NAMES))
    assert set(ledgers.codes) <= {"storage-full", "storage-failed", "outcome-unknown"}
    assert ledgers.codes["storage-full"] > TRIES // 2
    # What is there can be read, by live instances and by those that are opened for it.
    await ledgers.read_all(server.port)
    assert len(log_lines(server)) < LOG_LINES_MAX
    ballast.unlink()
    await recover(ledgers, server)
    await ledgers.read_all(server.port)
    fill(ballast)
    await write_to_all(ledgers, server, rounds=2)
    server.end(signal.SIGKILL)
    ballast.unlink()
    server.start()
    await ledgers.read_all(server.port)


async def test_a_server_says_why_it_does_not_start_on_a_full_disk(
    server: Server, small_disk: Path
) -> None:
    server.start()
    ledgers = Ledgers()
    await write_to_all(ledgers, server, rounds=4)
    assert server.end(signal.SIGTERM) == 0
    fill(small_disk / "ballast")
    with pytest.raises(AssertionError, match="No space left on device") as caught:
        server.start()
    assert "Traceback" not in str(caught.value)
    (small_disk / "ballast").unlink()
    server.start()
    await ledgers.read_all(server.port)
    await recover(ledgers, server)


async def test_files_that_may_not_grow_fail_their_objects_alone_until_they_may(
    server: Server,
) -> None:
    server.start()
    ledgers = Ledgers()
    await write_to_all(ledgers, server, rounds=4)
    before, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (150_000, hard))
    async with Connection(server.port) as connection:
        outcomes = [await ledgers.append(connection, NAMES[0]) for _ in range(TRIES)]
        assert outcomes[-1] is not Outcome.acknowledged
        assert await ledgers.append(connection, NAMES[1]) is Outcome.acknowledged
    assert len(log_lines(server)) < LOG_LINES_MAX
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (before, hard))
    await recover(ledgers, server)
    await ledgers.read_all(server.port)
    server.end(signal.SIGKILL)
    server.start()
    await ledgers.read_all(server.port)


def test_a_disk_that_was_filled_is_full(small_disk: Path) -> None:
    fill(small_disk / "ballast")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (small_disk / "more").write_bytes(b"x" * 5000)
