"""Servers under test: started on a core of their own, watched from outside, stopped for good.

Each server is one process group, so that wrangler's children end with it. Its processor time is read
from `/proc` for the whole group: on a noisy machine the time a server *used* for an answer is far
steadier than the answers per second that it was allowed to give.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

STARTED_WITHIN_S = 60.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """How to start one server; `{port}` and `{data}` in its arguments are filled in.

    It runs once `ready_path` is answered with 200.
    """

    name: str
    arguments: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = {}
    ready_path: str = "/hello"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back; header names in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A running server."""

    name: str
    port: int
    group: int

    def cpu_seconds(self) -> float:
        """Return the processor time that its processes have used so far."""
        return sum(ticks for _, ticks in processes(self.group)) / TICKS_PER_SECOND

    def get(self, path: str) -> Answer:
        """Fetch `path` once."""
        return self.ask("GET", path)

    def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: str = ""
    ) -> Answer:
        """Send one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body or None, headers=dict(headers or {}))
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(status=answer.status, body=answer.read(), headers=fields)
        finally:
            connection.close()


def pinned(core: int) -> tuple[str, ...]:
    """Return the command prefix that keeps a program on one core, if the machine has it."""
    available = sorted(os.sched_getaffinity(0))
    if shutil.which("taskset") is None or core >= len(available):
        return ()
    return ("taskset", "-c", str(available[core]))


@contextmanager
def running(command: Command, *, data: Path) -> Iterator[Server]:
    """Start `command` on the first core and give the server once it answers; stop it in the end.

    Raises:
        RuntimeError: it ended by itself or did not answer in time; with what it printed.
    """
    port = free_port()
    data.mkdir(parents=True, exist_ok=True)
    arguments = [part.format(port=port, data=data) for part in command.arguments]
    output = data / "output.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [*pinned(0), *arguments],
            cwd=command.directory,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_answering(
            process,
            Server(name=command.name, port=port, group=0),
            path=command.ready_path,
            output=output,
        )
        yield Server(name=command.name, port=port, group=process.pid)
    finally:
        stop(process)


def wait_answering(
    process: subprocess.Popen[bytes], server: Server, *, path: str, output: Path
) -> None:
    """Return when `path` is answered."""
    deadline = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = server.get(path)
        except OSError:
            time.sleep(0.05)
            continue
        if answer.status == 200:
            return
        raise RuntimeError(f"{path} was answered by {answer.status} {answer.body[:500]!r}")
    raise RuntimeError(f"no {server.name} on port {server.port}:\n{output.read_text()[-4000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and the group it leads."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue


def processes(group: int) -> Iterator[tuple[int, int]]:
    """Yield the id and the used processor ticks of each process of a group."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            yield int(entry.name), int(fields[11]) + int(fields[12])


def busy_seconds() -> float:
    """Return how long the cores of this program's affinity have run any process since boot."""
    cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    busy = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in cores:
            # user, nice, system; interrupts are left out, as processes' own times leave them out.
            busy += sum(int(each) for each in ticks[:3])
    return busy / TICKS_PER_SECOND


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
