"""A real `dohost` server in a process of its own, and a connection that gives each answer as it came."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

COUNTER = """
from urllib.parse import urlsplit
from workers import DurableObject, Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        _, name, action = urlsplit(request.url).path.split("/")
        stub = self.env.COUNTER.getByName(name)
        return Response(str(await getattr(stub, action)()))


class Counter(DurableObject):
    async def increment(self):
        value = (await self.ctx.storage.get("n") or 0) + 1
        await self.ctx.storage.put("n", value)
        await self.ctx.storage.put("twin", value)
        return value

    async def read(self):
        value = await self.ctx.storage.get("n") or 0
        twin = await self.ctx.storage.get("twin") or 0
        return f"{value},{twin}"

    async def schedule(self):
        import time
        await self.ctx.storage.setAlarm(time.time() * 1000 + 1000)
        return "set"

    async def fired(self):
        return await self.ctx.storage.get("fired") or 0

    async def alarm(self):
        await self.ctx.storage.put("fired", (await self.ctx.storage.get("fired") or 0) + 1)
"""

CONFIG = """
name = "crash"
main = "entry.py"
compatibility_date = "2026-09-08"
compatibility_flags = ["python_workers"]
[[durable_objects.bindings]]
name = "COUNTER"
class_name = "Counter"
[[migrations]]
tag = "v1"
new_sqlite_classes = ["Counter"]
"""


def write_project(root: Path) -> None:
    """Write the counter program."""
    (root / "wrangler.toml").write_text(CONFIG)
    (root / "entry.py").write_text(COUNTER)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """`dohost dev`, or another command, on a project's directory; started again on the same port."""

    def __init__(
        self,
        root: Path,
        *,
        command: Sequence[str] = ("dev", "--no-watch"),
        wrapper: Sequence[str] = (),
        flags: Sequence[str] = (),
    ) -> None:
        self.root = root
        self.port = free_port()
        self._command = tuple(command)
        self._wrapper = tuple(wrapper)
        self._flags = tuple(flags)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it listens."""
        command = [
            *self._wrapper,
            *(sys.executable, "-m", "dohost", *self._command, "--port", str(self.port)),
            *("--persist-to", str(self.root / "data"), *self._flags),
        ]
        output = (self.root / "output").open("ab")
        self._process = subprocess.Popen(
            command,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        output.close()
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self._process.poll() is None, (self.root / "output").read_text()
                assert time.monotonic() < deadline, "the server does not listen"
                time.sleep(0.02)
            else:
                return

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the whole process group and return the exit code; 0 if none runs."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, how)
        return self._process.wait(timeout=20)

    @property
    def pid(self) -> int:
        """The process that was started last."""
        assert self._process is not None, "it was started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has been started and lives."""
        return self._process is not None and self._process.poll() is None

    async def get(self, path: str) -> str:
        """Send one request on a connection of its own and return the body of its 200."""
        async with Connection(self.port) as connection:
            return await connection.get(path)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One response: lower-case header names, the body as text."""

    status: int
    headers: Mapping[str, str]
    body: str


class Connection:
    """One keep-alive connection; any failure is an OSError or EOFError."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def get(self, path: str) -> str:
        """Send a GET and return the body of its 200."""
        answer = await self.ask(path)
        assert answer.status == 200, answer
        return answer.body

    async def ask(self, path: str, *, method: str = "GET", body: str = "") -> Answer:
        """Send a request, with a JSON body if there is one, and return the answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost:{self._port}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(f"{head}\r\n{body}".encode())
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = [line.split(":", 1) for line in lines[1:] if line]
        headers = {name.lower(): value.strip() for name, value in fields}
        content = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(status=int(lines[0].split()[1]), headers=headers, body=content.decode())
