"""The request path without a network: processor time of one request through the server, in one process.

    python -m tests.benchmarks.in_process [WORK …]

A connection of the real server in front of a real host gets its bytes from a transport in memory, so what is
counted is parsing, the program, its objects and the answer, and no system call for the socket. Minima over
several runs are steady to a few percent even on a busy machine. Over a network the same request costs
about twice as much: each system call leaves caches and branch predictors cold.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from dohost.cli.hosting import running_host
from dohost.config import load
from dohost.runtime.host import HostOptions
from dohost.server.app import Server, ServerOptions
from dohost.server.connection import Connection
from dohost.server.listener import Listener
from tests.benchmarks.load import request_bytes
from tests.benchmarks.work import CALLS, WORKS, Work

HERE = Path(__file__).parent
REQUESTS = 1_500
RUNS = 9


class Wire(asyncio.Transport):
    """Answers each answer with the next request, until it has had enough."""

    def __init__(self, connection: Connection, request: bytes, *, requests: int) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._request = request
        self._left = requests
        self._is_closing = False
        self.done: asyncio.Future[bytes] = self._loop.create_future()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._left -= 1
        if self._left:
            self._loop.call_soon(self._connection.data_received, self._request)
        else:
            self.done.set_result(bytes(data))

    def close(self) -> None:
        self._is_closing = True

    def is_closing(self) -> bool:
        return self._is_closing


async def microseconds(listener: Listener, path: str, *, requests: int) -> tuple[float, bytes]:
    """Return the processor time of one of `requests` requests, and the last answer."""
    connection = listener()
    request = request_bytes("GET", path)
    wire = Wire(connection, request, requests=requests)
    connection.connection_made(wire)
    await asyncio.sleep(0)
    started = time.process_time()
    connection.data_received(request)
    answer = await wire.done
    elapsed = time.process_time() - started
    connection.connection_lost(None)
    await asyncio.sleep(0)
    return elapsed / requests * 1e6, answer


async def measure(works: Sequence[Work], *, requests: int, runs: int) -> dict[str, float]:
    """Return the least time of one request, in µs, for each piece of work.

    Raises:
        AssertionError: an answer does not prove the work.
    """
    loaded = load([HERE / "worker" / "wrangler.toml"], cwd=HERE)
    least: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as data:
        async with running_host(HostOptions(persist=Path(data))) as host:
            await host.load(loaded.workers)
            options = host.options
            server = Server(
                host.fetch,
                ServerOptions(port=0),
                clock=options.clock,
                log=options.log,
                new_context=host.new_context,
            )
            await server.start()
            listener = server._listener
            assert listener is not None
            for work in works:
                for path in work.before:
                    await microseconds(listener, path, requests=1)
                _, answer = await microseconds(listener, work.paths[0], requests=1)
                assert answer.replace(b" ", b"").endswith(work.first), answer
                times = [
                    (await microseconds(listener, work.paths[0], requests=requests))[0]
                    for _ in range(runs)
                ]
                least[work.name] = min(times)
            await server.stop(0.1)
    return least


def main(names: Sequence[str]) -> None:
    """Measure the works whose names begin with one of `names`, and print a line for each."""
    works = [w for w in WORKS if w is not CALLS and w.name.startswith(tuple(names) or ("",))]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        least = runner.run(measure(works, requests=REQUESTS, runs=RUNS))
    for name, micros in least.items():
        print(f"{name:<28} {micros:8.1f} µs")


if __name__ == "__main__":
    main(sys.argv[1:])
