"""What KV, D1, R2 and queues have acknowledged survives a power cut at every moment of a traced run."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dohost.clock import SystemClock
from dohost.errors import HostError, JsException
from dohost.simulators.resources import Resources
from tests.simulation.disk_model import Disk, Fate
from tests.simulation.disk_trace import Effect, Left, effects, strace
from tests.simulation.traced_bindings import KINDS, open_resources, value_of

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

PROJECT = Path(__file__).parents[2]
STATES = 300
# What a disk does to writes that nobody synced, but for junk: that a log does not believe is SQLite's part.
LOSSES = (Fate.dropped, Fate.kept, Fate.prefix, Fate.subset, Fate.torn)

Acknowledged = set[tuple[str, int]]


def traced(root: Path, bug: str | None = None) -> list[Effect]:
    """Return what a run of the stores did to the disk."""
    trace = root / "trace"
    command = [*strace(str(trace)), sys.executable, "-m", "tests.simulation.traced_bindings"]
    done = subprocess.run(
        [*command, str(root), *([bug] if bug else [])],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with trace.open() as lines:
        found = list(effects(lines, root=str(root), acks=str(root / "acks")))
    trace.unlink()
    return found


async def kept_of(persist: Path, kinds: set[str]) -> Acknowledged:
    """Return which entries the stores of a directory hold, whole."""
    resources = open_resources(persist)
    kept: Acknowledged = set()
    try:
        for kind in kinds:
            # No such table, a damaged file, a blob that is cut off: nothing of it counts as kept.
            with contextlib.suppress(JsException, OSError, HostError):
                kept |= {(kind, number) async for number in READERS[kind](resources)}
    finally:
        await resources.close()
    return kept


async def kv_numbers(resources: Resources) -> AsyncIterator[int]:
    kv = resources.kv_namespace("kv")
    for key in (await kv.list())["keys"]:
        yield number_of(await kv.get(key["name"]))


async def d1_numbers(resources: Resources) -> AsyncIterator[int]:
    for (value,) in await resources.d1_database("db").prepare("SELECT value FROM entries").raw():
        yield number_of(value)


async def r2_numbers(resources: Resources) -> AsyncIterator[int]:
    bucket = resources.r2_bucket("bucket")
    for stored in (await bucket.list()).objects:
        found = await bucket.get(stored.key)
        yield number_of(await found.text())


async def queue_numbers(resources: Resources) -> AsyncIterator[int]:
    now_ms = SystemClock().realtime_ns() // 1_000_000
    taken = await resources._messages.take("jobs", now_ms=now_ms, limit=10_000)
    for delivery in taken.deliveries:
        yield number_of(delivery.value())


READERS = {"kv": kv_numbers, "d1": d1_numbers, "r2": r2_numbers, "queue": queue_numbers}


def number_of(value: object) -> int:
    """Return which entry a value is. Raises: OSError if it is torn."""
    first = str(value).partition(" ")[0]
    if not first.isdecimal():
        raise OSError(f"{first[:20]!r} is torn")
    number = int(first)
    if value != value_of(number):
        raise OSError(f"{number} is torn")
    return number


def lost_in(history: list[Effect], scratch: Path, *, states: int) -> tuple[Counter[str], int]:
    """Cut the power at `states` moments; return what was lost by kind, and how often much was at stake."""
    chance, disk = random.Random(1), Disk(random.Random(2))
    acknowledged: Acknowledged = set()
    lost: Counter[str] = Counter()
    taken = uncertain = 0
    for moment in sorted(chance.choices(range(len(history) + 1), k=states)):
        for effect in history[taken:moment]:
            disk.take(effect)
            if isinstance(effect, Left):
                kind, number = effect.text.split()
                acknowledged.add((kind, int(number)))
        taken = moment
        uncertain += disk.is_uncertain()
        left = {
            path: file.image(chance.choice(LOSSES), chance)
            for path, file in disk.after_power_cut(chance).items()
        }
        persist = rebuilt(left, scratch)
        kinds = {kind for kind, _ in acknowledged}
        for kind, _ in acknowledged - asyncio.run(kept_of(persist, kinds)):
            lost[kind] += 1
    return lost, uncertain


def rebuilt(left: dict[str, bytes], scratch: Path) -> Path:
    """Write the files of a crash state below `scratch` and return the data directory there."""
    shutil.rmtree(scratch, ignore_errors=True)
    for path, content in left.items():
        _, found, rest = path.partition("/data/")
        is_file = rest.rpartition("/")[0].endswith("blobs") or "." in rest
        if found and is_file and not path.endswith("-shm"):
            (scratch / rest).parent.mkdir(parents=True, exist_ok=True)
            (scratch / rest).write_bytes(content)
    return scratch


def test_no_power_cut_loses_what_a_binding_acknowledged(tmp_path: Path) -> None:
    history = traced(tmp_path)
    lost, uncertain = lost_in(history, tmp_path / "scratch", states=STATES)
    assert not lost, lost
    written = {effect.text.split()[0] for effect in history if isinstance(effect, Left)}
    assert written == set(KINDS)
    assert uncertain > STATES // 4


@pytest.mark.parametrize(
    ("bug", "kinds"),
    [
        ("no-directory-sync", {"kv", "d1", "queue", "r2"}),
        ("synchronous-off", {"kv", "queue", "r2"}),
        ("no-blob-sync", {"r2"}),
    ],
)
def test_a_planted_bug_of_a_store_is_found(tmp_path: Path, bug: str, kinds: set[str]) -> None:
    lost, _ = lost_in(traced(tmp_path, bug), tmp_path / "scratch", states=STATES // 3)
    assert set(lost) == kinds
