"""The answer leaves after the write is on the disk: seen in the system calls of a real run."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from pathlib import Path

import pytest
from server_process import Connection, Server, write_project

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

CALL = re.compile(r"^(?:\[pid\s+\d+\]\s+|\d+\s+)?(?P<name>\w+)\((?P<rest>.*)$")


def order_of_calls(trace: Path) -> list[str]:
    """Return the trace as a list of: write to a log, sync of a log begun or ended, answer."""
    events: list[str] = []
    syncing: set[str] = set()
    for line in trace.read_text(errors="replace").splitlines():
        pid, _, call = line.partition(" ")
        call = call.strip()
        if call.startswith("pwrite64(") and ".sqlite-wal>" in call:
            events.append("write")
        elif call.startswith(("fdatasync(", "fsync(")) and ".sqlite-wal>" in call:
            if "unfinished" in call:
                syncing.add(pid)
            else:
                events.append("synced")
        elif "resumed>" in call and "sync" in call and pid in syncing:
            syncing.discard(pid)
            events.append("synced")
        elif "HTTP/1.1 200" in call and call.startswith(
            ("write(", "sendto(", "sendmsg(", "writev(")
        ):
            events.append("answer")
    return events


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_every_answer_to_a_write_follows_a_sync_of_its_log(tmp_path: Path) -> None:
    write_project(tmp_path)
    trace = tmp_path / "trace"
    calls = "pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg"
    server = Server(
        tmp_path,
        wrapper=("strace", "-f", "-y", "-s", "64", "-e", f"trace={calls}", "-o", str(trace)),
    )
    server.start()
    async with Connection(server.port) as connection:
        for _ in range(5):
            await connection.get("/one/increment")
    server.end(signal.SIGTERM)
    await asyncio.sleep(0)
    events = order_of_calls(trace)
    first = events.index("answer")
    assert "synced" in events[:first]
    assert events.count("answer") == 5
    for index, event in enumerate(events):
        if event == "answer":
            before = events[:index]
            last_write = len(before) - 1 - before[::-1].index("write")
            assert "synced" in before[last_write:], (index, before[-6:])
