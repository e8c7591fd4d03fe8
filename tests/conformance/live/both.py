"""One program on both sides: what it answers in the real workerd, and what it answers here.

A program is a directory with `config.capnp` and its JavaScript for workerd, and `entry.py` for us. It takes a
list of questions as JSON in one POST and gives a list of answers.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from workers import Request

from dohost.config import WorkerConfig
from dohost.runtime.host import Host, HostOptions
from dohost.runtime.lock import LockInfo
from dohost.telemetry import Log
from tests.benchmarks import peers
from tests.benchmarks.servers import Command, running


async def answers(
    asked: Sequence[object], worker: WorkerConfig, directory: Path
) -> tuple[list[object], list[object]]:
    """Return workerd's answers and ours; `worker` is our side of the program, beside its other files.

    Skips the test where workerd can't be had.
    """
    installed = peers.install()
    if isinstance(installed, peers.Unavailable):
        pytest.skip(installed.reason)
    theirs = _theirs(installed, worker.main.parent, asked, data=directory / "workerd")
    return theirs, await _ours(worker, asked, data=directory / "data")


def _theirs(installed: Path, program: Path, asked: Sequence[object], *, data: Path) -> list[object]:
    command = Command(
        name="workerd",
        arguments=(
            str(peers.workerd(installed)),
            "serve",
            str(program / "config.capnp"),
            "--socket-addr=http=127.0.0.1:{port}",
            "--directory-path=objects={data}",
        ),
        directory=program,
    )
    with running(command, data=data) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/", body=json.dumps(asked))
        response = connection.getresponse()
        content = response.read()
        connection.close()
        assert response.status == 200, content[:2000]
    given: list[object] = json.loads(content)
    return given


async def _ours(worker: WorkerConfig, asked: Sequence[object], *, data: Path) -> list[object]:
    host = Host(HostOptions(persist=data, log=Log(lambda event: None)))
    await host.start(LockInfo(pid=1))
    try:
        await host.load((worker,))
        request = Request("http://localhost/", method="POST", body=json.dumps(asked))
        given: list[object] = json.loads(await (await host.fetch(request)).text())
    finally:
        await host.drain(grace_s=1)
    return given
