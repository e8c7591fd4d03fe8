"""The two sides of the comparison: the real workerd, and our host in this process.

Both are given the same scenarios and answer in the same form: per scenario the answers of its events, and
an event's answer is the list of its operations' answers, or the error that its caller got.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

from dohost.config import DurableObjectBinding, WorkerConfig
from dohost.errors import DohostError
from dohost.runtime.host import Host, HostOptions
from dohost.runtime.lock import LockInfo
from dohost.telemetry import Log
from tests.benchmarks import peers
from tests.benchmarks.servers import Command, Server, running
from tests.conformance.live.neutral import Encoded, encode_error
from tests.conformance.live.scenario import Scenario

HERE = Path(__file__).parent
WORKER = "live"
CLASSES = ("Driver", "Other")
REQUEST_TIMEOUT_S = 300

Answers = list[Encoded]


class WorkerdUnavailable(Exception):
    """workerd is not installed and can't be; the message says why."""


class Side(Protocol):
    """Whoever performs scenarios."""

    async def perform(self, scenarios: Sequence[Scenario]) -> list[Answers | None]:
        """Return the answers to each scenario; None where the side itself ended over it."""
        ...


class Workerd:
    """Cloudflare's runtime, asked over HTTP with many scenarios to a request.

    Some scenarios end workerd itself. It is started again then, the others of the request are asked one
    by one, and the culprit's answers are None.
    """

    def __init__(self, directory: Path) -> None:
        installed = peers.install()
        if isinstance(installed, peers.Unavailable):
            raise WorkerdUnavailable(installed.reason)
        self._binary = peers.workerd(installed)
        self._directory = directory
        self._starts = 0
        self._running = ExitStack()
        self._server: Server | None = None

    async def perform(self, scenarios: Sequence[Scenario]) -> list[Answers | None]:
        """Return the answers to each scenario."""
        return await asyncio.to_thread(self._ask, scenarios)

    def close(self) -> None:
        """Stop the server."""
        self._running.close()
        self._server = None

    def _ask(self, scenarios: Sequence[Scenario]) -> list[Answers | None]:
        body = json.dumps([{"name": each.name, "events": each.events} for each in scenarios])
        if self._server is None:
            self._server = self._start()
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._server.port, timeout=REQUEST_TIMEOUT_S
        )
        try:
            connection.request("POST", "/", body=body)
            response = connection.getresponse()
            content = response.read()
        except ConnectionError:
            self.close()
            if len(scenarios) == 1:
                return [None]
            return [answers for each in scenarios for answers in self._ask([each])]
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"workerd answered {response.status}: {content[:2000]!r}")
        answers: list[Answers | None] = json.loads(content)
        return answers

    def _start(self) -> Server:
        self._starts += 1
        command = Command(
            name="workerd",
            arguments=(
                str(self._binary),
                "serve",
                str(HERE / "javascript" / "config.capnp"),
                "--socket-addr=http=127.0.0.1:{port}",
                "--directory-path=objects={data}",
            ),
            directory=HERE / "javascript",
        )
        # A directory of its own: objects that were there before have seen a part of their events.
        data = self._directory / str(self._starts)
        return self._running.enter_context(running(command, data=data))


class Dohost:
    """Our host, called in this process: what a client would be answered by a stub."""

    def __init__(self, host: Host) -> None:
        self._namespace = host.classes[f"{WORKER}-Driver"].namespace

    async def perform(self, scenarios: Sequence[Scenario]) -> list[Answers | None]:
        """Return the answers to each scenario."""
        return [await self._perform(each) for each in scenarios]

    async def _perform(self, scenario: Scenario) -> Answers:
        answers: Answers = []
        for operations in scenario.events:
            try:
                text = await self._namespace.getByName(scenario.name).run(json.dumps(operations))
                answers.append(json.loads(str(text)))
            except DohostError as error:
                answers.append(encode_error(error))
        return answers


def worker() -> WorkerConfig:
    """Return the configuration of the driver, the same as workerd's."""
    main = HERE / "worker" / "entry.py"
    return WorkerConfig(
        name=WORKER,
        main=main,
        config_path=main.with_name("wrangler.toml"),
        compatibility_date="2026-04-01",
        durable_objects=tuple(
            DurableObjectBinding(name=each.upper(), class_name=each) for each in CLASSES
        ),
        classes=dict.fromkeys(CLASSES, "sqlite"),
    )


@asynccontextmanager
async def dohost(data: Path) -> AsyncIterator[Dohost]:
    """Run our host on a directory."""
    host = Host(HostOptions(persist=data, evict_after_s=None, log=Log(lambda event: None)))
    await host.start(LockInfo(pid=1))
    try:
        await host.load((worker(),))
        yield Dohost(host)
    finally:
        await host.drain(grace_s=1)


@contextmanager
def workerd(data: Path) -> Iterator[Workerd]:
    """Run workerd on a directory. Raises: WorkerdUnavailable if it can't be installed here."""
    side = Workerd(data)
    try:
        yield side
    finally:
        side.close()
