"""Very many objects on one server: what is left in memory of them, and how soon it is there again.

    python -m tests.simulation.many_objects [--objects 100000] [--data DIRECTORY]

A `dohost serve` creates the objects one after another; its memory and descriptors are looked at on the
way. Then it is stopped and started again, and killed and started again; *ready* is the time from the start
of the process to its first answer, and the part of it that Python takes to import the program is measured
by itself. A killed server's successor first writes to the disk whatever the machine has not written yet.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from tests.simulation.server_process import Connection, free_port, write_project

IMPORTS = "import gc; gc.disable(); import dohost.cli, dohost.cli.serve"
STARTS = 3
AT_ONCE = 16
READY_WITHIN_S = 60


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A server after it has touched so many objects."""

    objects: int
    rss_mib: float
    descriptors: int
    seconds: float


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; times in seconds."""

    seen: tuple[Seen, ...]
    descriptors_max: int
    import_s: float
    ready_empty_s: tuple[float, ...]
    ready_s: tuple[float, ...]
    ready_killed_s: float

    def lines(self) -> str:
        """Return the report."""
        lines = [
            f"{each.objects:>7} objects after {each.seconds:6.1f} s: {each.rss_mib:6.1f} MiB, "
            f"{each.descriptors} descriptors"
            for each in self.seen
        ]
        ready, empty = (
            ", ".join(f"{each:.3f}" for each in found)
            for found in (self.ready_s, self.ready_empty_s)
        )
        return "\n".join(
            (
                *lines,
                f"most descriptors seen: {self.descriptors_max}",
                f"ready without objects after {empty} s, with all after {ready} s, of which {self.import_s:.3f} s is Python importing",
                f"ready after a kill in {self.ready_killed_s:.3f} s",
            )
        )


class Serving:
    """`dohost serve` on a project."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; return the seconds until it has answered."""
        command = [sys.executable, "-m", "dohost", "serve", "--port", str(self.port)]
        began = time.perf_counter()
        with (self._root / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "--persist-to", str(self._root / "data")],
                cwd=self._root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        while not self._answers():
            assert self.process.poll() is None, (self._root / "output").read_text()
            assert time.perf_counter() - began < READY_WITHIN_S
            time.sleep(0.002)
        return time.perf_counter() - began

    def end(self, how: signal.Signals) -> None:
        """Stop it and wait for its end."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=60)
            self.process = None

    def rss_mib(self) -> float:
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20

    def descriptors(self) -> int:
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=READY_WITHIN_S)
        try:
            connection.request("GET", "/one-0/read")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


async def touch(port: int, numbers: range) -> None:
    """Write to each of these objects once."""
    waiting = iter(numbers)

    async def client() -> None:
        async with Connection(port) as connection:
            for number in waiting:
                assert await connection.get(f"/one-{number}/increment") == "1"

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))


def restarts(serving: Serving) -> tuple[float, ...]:
    """Return the seconds of some starts; the server runs then."""
    found = []
    for _ in range(STARTS):
        serving.end(signal.SIGTERM)
        found.append(serving.start())
    return tuple(sorted(found))


def import_seconds() -> float:
    """Return how long Python takes to start and to import what serving needs."""
    found = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)
        found.append(time.perf_counter() - began)
    return min(found)


def measure(root: Path, *, objects: int, steps: int = 5) -> Scale:
    """Create the objects, look, restart, and return what was seen."""
    write_project(root)
    serving = Serving(root)
    seen: list[Seen] = []
    descriptors_max = 0
    try:
        empty = restarts(serving)
        began = time.perf_counter()
        # Steps for the figures, and smaller ones to see how many descriptors there are at most.
        each = max(1, objects // (steps * 20))
        for first in range(0, objects, each):
            last = min(first + each, objects)
            asyncio.run(touch(serving.port, range(first, last)))
            descriptors_max = max(descriptors_max, serving.descriptors())
            if last == objects or last // (objects // steps) > first // (objects // steps):
                seen.append(
                    Seen(
                        objects=last,
                        rss_mib=serving.rss_mib(),
                        descriptors=serving.descriptors(),
                        seconds=time.perf_counter() - began,
                    )
                )
        ready = restarts(serving)
        serving.end(signal.SIGKILL)
        killed = serving.start()
    finally:
        serving.end(signal.SIGKILL)
    return Scale(
        seen=tuple(seen),
        descriptors_max=descriptors_max,
        import_s=import_seconds(),
        ready_empty_s=empty,
        ready_s=ready,
        ready_killed_s=killed,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="many_objects", description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="where files are made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="many-", dir=options.data) as name:
        found = measure(Path(name), objects=options.objects)
        print(found.lines(), flush=True)
        print(f"the median start: {statistics.median(found.ready_s):.3f} s")


if __name__ == "__main__":
    main()
