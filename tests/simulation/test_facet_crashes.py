"""Facets after `kill -9` and after power cuts: what was answered is there, and nothing that was deleted.

Of the disk's faults only junk in unwritten sectors is left out: an index of facets has no checksums.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.disk_model import FATES, Disk, Fate
from tests.simulation.disk_trace import Effect, Left, effects, strace
from tests.simulation.facet_run import (
    OBJECTS,
    OPERATIONS,
    PATHS,
    UNIQUE_KEY,
    Operation,
    State,
    after,
    plan,
    started,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

PROJECT = Path(__file__).parents[2]
STATES = int(os.environ.get("DOHOST_FACET_STATES", "100"))
KILLS = int(os.environ.get("DOHOST_FACET_KILLS", "5"))


async def problems_of(root: Path, acknowledged: Counter[int], seed: int) -> list[str]:
    """Open what a crash has left in `root` and say what is wrong with it."""
    host = await started(root)
    found: list[str] = []
    try:
        for number in range(OBJECTS):
            stub = host.classes[UNIQUE_KEY].namespace.getByName(f"tree-{number}")
            state = {path: int(await stub.value(path.split("/"))) for path in PATHS}
            operations = plan(seed, number)
            before: State = dict.fromkeys(PATHS, 0)
            for operation in operations[: acknowledged[number]]:
                before = after(before, operation)
            under_way = operations[acknowledged[number] : acknowledged[number] + 1]
            if not is_allowed(state, before, under_way):
                found.append(f"object {number}: {state}, was {before}, then {under_way}")
    finally:
        await host.drain(grace_s=1)
    return found


def is_allowed(state: State, before: State, under_way: list[Operation]) -> bool:
    """Whether the operation under way has happened, or not, or (on several files) in part."""
    if not under_way:
        return state == before
    (operation,) = under_way
    then = after(before, operation)
    touched = {path for path in PATHS if path[0] == operation[-1][0]}
    is_partial = operation[0] != "increment"
    return all(
        value in (before[path], then[path]) or (is_partial and path in touched and value == 0)
        for path, value in state.items()
    )


def acknowledged_in(lines: list[str]) -> Counter[int]:
    """Return how many operations of each object were answered."""
    counts: Counter[int] = Counter()
    for line in lines:
        number, count = map(int, line.split())
        counts[number] = max(counts[number], count)
    return counts


async def test_no_answered_operation_on_facets_is_lost_by_kill_9(tmp_path: Path) -> None:
    chance, interrupted = random.Random(1), 0
    for seed in range(KILLS):
        root = tmp_path / str(seed)
        root.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.simulation.facet_run", str(root), str(seed)], cwd=PROJECT
        )
        acks, wanted = root / "acks", chance.randrange(2, OBJECTS * OPERATIONS - 10)
        while process.poll() is None and (
            not acks.exists() or acks.read_bytes().count(b"\n") < wanted
        ):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        counts = acknowledged_in(acks.read_text().splitlines())
        interrupted += sum(counts.values()) < OBJECTS * OPERATIONS
        assert await problems_of(root, counts, seed) == []
    assert interrupted >= KILLS // 2


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_no_answered_operation_on_facets_is_lost_by_a_power_cut(tmp_path: Path) -> None:
    assert await explore(tmp_path, seed=1, states=STATES) == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("bug", ["no-index", "early-deletion"])
async def test_a_planted_bug_is_found(tmp_path: Path, bug: str) -> None:
    assert await explore(tmp_path, seed=1, states=STATES, bug=bug)


async def explore(directory: Path, *, seed: int, states: int, bug: str | None = None) -> list[str]:
    """Trace a run, cut the power at some of its moments, and return the problems of what is left."""
    root = (directory / "run").resolve()
    root.mkdir()
    history = trace(root, seed=seed, bug=bug)
    assert sum(isinstance(effect, Left) for effect in history) == OBJECTS * OPERATIONS
    chance, disk = random.Random(seed), Disk(random.Random(seed))
    acks: list[str] = []
    taken, problems = 0, []
    for moment in sorted(chance.choices(range(len(history) + 1), k=states)):
        for effect in history[taken:moment]:
            disk.take(effect)
            if isinstance(effect, Left):
                acks.append(effect.text)
        taken = moment
        left = directory / "left"
        rebuild(disk, left, root, chance)
        found = await problems_of(left, acknowledged_in(acks), seed)
        problems += [f"after {moment} of {len(history)}: {problem}" for problem in found]
        shutil.rmtree(left)
        if bug and problems:
            break
    return problems


def trace(root: Path, *, seed: int, bug: str | None) -> list[Effect]:
    """Run in `root` under strace and return what was done to the disk."""
    log = root / "trace"
    command = [*strace(str(log)), sys.executable, "-m", "tests.simulation.facet_run", str(root)]
    command += [str(seed), *([bug] if bug else [])]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    with log.open() as lines:
        return list(effects(lines, root=str(root), acks=str(root / "acks")))


def rebuild(disk: Disk, left: Path, root: Path, chance: random.Random) -> None:
    """Write what the disk may hold after a power cut now to `left`."""
    fates = [fate for fate in FATES if fate is not Fate.junk]
    left.mkdir()
    for path, file in disk.after_power_cut(chance).items():
        relative = Path(path).relative_to(root)
        # The lock is of a process that is gone; with it each start would sync the whole machine.
        is_lock = relative.name.endswith(".lock")
        if relative.parts[0] != "data" or "." not in relative.name or is_lock:
            continue
        target = left / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.image(chance.choice(fates), chance))
