"""A closed-loop HTTP/1.1 load generator: N keep-alive connections, one request in flight on each.

It runs in a process of its own, pinned to a core of its own, and is one epoll loop over blocking-free
sockets with no HTTP library, so that it costs about a third of the cheapest server it measures (and
prints its own share of a core, so that a run in which it was the bottleneck can be seen). The
parser knows just what servers answer to plain requests: a status line, a content length or chunks.

Run as a program it reads one `Plan` as JSON from standard input and writes one `Load` as JSON.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec

RECEIVE_BYTES = 65_536
STALL_S = 20.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: the requests are sent in turn, over all connections together."""

    port: int
    requests: tuple[bytes, ...]
    connections: int
    seconds: float
    warmup_s: float


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What came back within the measured seconds (`answers_in_all`: also in the warm-up)."""

    answers: int
    answers_in_all: int
    failures: int
    seconds: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    own_cpu: float

    @property
    def per_second(self) -> float:
        """Return answers per second."""
        return self.answers / self.seconds


def request_bytes(
    method: str, path: str, *, headers: tuple[str, ...] = (), body: str = ""
) -> bytes:
    """Return one HTTP/1.1 request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def answer_length(data: bytes) -> int | None:
    """Return the length of the answer at the start of `data`, or None while it is incomplete."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return None
    start = data.find(b"ength: ", 0, head)
    if start >= 0:
        end = data.find(b"\r", start)
        total = head + 4 + int(data[start + 7 : end])
        return total if len(data) >= total else None
    if data.find(b"hunked", 0, head) >= 0:
        last = data.find(b"0\r\n\r\n", head)
        return last + 5 if last >= 0 else None
    return head + 4


class Connection:
    """One socket, the part of an answer it has, and when its request left."""

    __slots__ = ("received", "requests", "sent_at", "socket")

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=STALL_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = requests
        self.received = b""
        self.sent_at = 0.0

    def send(self, now: float) -> None:
        """Send the next request."""
        self.sent_at = now
        self.socket.sendall(next(self.requests))

    def receive(self) -> bytes | None:
        """Read what is there; return the answer once it is whole.

        Raises:
            ConnectionError: the server closed a connection that it was to keep open.
        """
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError(f"the server closed a connection after {self.received[:200]!r}")
        data = self.received + data
        length = answer_length(data)
        if length is None:
            self.received = data
            return None
        self.received = b""
        return data[:length]


def turns(requests: tuple[bytes, ...], *, first: int) -> Iterator[bytes]:
    """Yield the requests for ever, beginning at `first`."""
    index = first
    while True:
        yield requests[index % len(requests)]
        index += 1


def run(plan: Plan) -> Load:
    """Drive `plan` and return what was measured after its warm-up."""
    poll = select.epoll()
    connections: dict[int, Connection] = {}
    for index in range(plan.connections):
        first = index * len(plan.requests) // plan.connections
        connection = Connection(plan.port, turns(plan.requests, first=first))
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    for connection in connections.values():
        connection.send(time.perf_counter())
    warmup, _ = drive(poll, connections, seconds=plan.warmup_s)
    started, cpu = time.perf_counter(), time.process_time()
    latencies, failures = drive(poll, connections, seconds=plan.seconds)
    seconds = time.perf_counter() - started
    own_cpu = (time.process_time() - cpu) / seconds
    for connection in connections.values():
        connection.socket.close()
    poll.close()
    latencies.sort()
    return Load(
        answers=len(latencies),
        answers_in_all=len(latencies) + len(warmup),
        failures=failures,
        seconds=seconds,
        p50_ms=percentile(latencies, 0.50) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        worst_ms=percentile(latencies, 1.0) * 1e3,
        own_cpu=own_cpu,
    )


def drive(
    poll: select.epoll, connections: dict[int, Connection], *, seconds: float
) -> tuple[list[float], int]:
    """Answer by answer send the next request, for `seconds`; return latencies and failures."""
    latencies: list[float] = []
    failures = 0
    until = time.perf_counter() + seconds
    now = 0.0
    while now < until:
        events = poll.poll(STALL_S)
        if not events:
            raise TimeoutError(f"no answer within {STALL_S:.0f} s")
        for descriptor, _ in events:
            connection = connections[descriptor]
            answer = connection.receive()
            if answer is None:
                continue
            now = time.perf_counter()
            if answer[9:12] == b"200":
                latencies.append(now - connection.sent_at)
            else:
                failures += 1
            connection.send(now)
        now = time.perf_counter()
    return latencies, failures


def percentile(ordered: list[float], share: float) -> float:
    """Return the value below which `share` of the sorted values lie, or 0 without values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def measure(plan: Plan, *, pinned: tuple[str, ...]) -> Load:
    """Run `plan` in a process of its own, started by the `pinned` command prefix."""
    command = [*pinned, sys.executable, __file__]
    done = subprocess.run(
        command, input=msgspec.json.encode(plan), capture_output=True, check=False, timeout=300
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed:\n{done.stderr.decode()}")
    return msgspec.json.decode(done.stdout, type=Load)


def main() -> None:
    """Read a plan from standard input; write what was measured to standard output."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(run(plan)))


if __name__ == "__main__":
    main()
