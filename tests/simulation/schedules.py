"""Deterministic schedules of the core: seeds, what is checked of each, and a command for long runs.

    python -m tests.simulation.schedules --seeds 0..3000000 [--bug NAME]
    python -m tests.simulation.schedules --seeds 4711..4711 --trace

A seed is one schedule of the real core on a simulated machine (`schedule_world`). While it runs, the
objects look about themselves; when it is over, every history must be linearizable, with operations
that a crash cut short at one moment before it or never. The same seed gives the same trace.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.simulation.linearizability import Model, State, check
from tests.simulation.planted_bugs import RUNTIME_BUGS, planted
from tests.simulation.schedule_world import World
from tests.simulation.sequential_models import (
    EMPTY,
    NO_ALARM,
    NOTHING_COUNTED,
    UNSET,
    alarm,
    append_list,
    counter,
    register,
)
from tests.simulation.simulated_host import machine_in

MODELS: dict[str, tuple[Model, State]] = {
    "counter": (counter, NOTHING_COUNTED),
    "register": (register, UNSET),
    "list": (append_list, EMPTY),
    "alarm": (alarm, NO_ALARM),
}
MEMORY = Path("/dev/shm")
PROGRESS_S = 10.0
COLLECT_EVERY = 50


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one schedule."""

    violations: tuple[str, ...]
    trace: tuple[tuple[object, ...], ...]
    seen: Counter[str]

    @property
    def digest(self) -> str:
        """A hash of everything that happened."""
        return hashlib.sha256(repr(self.trace).encode()).hexdigest()


def run_seed(seed: int) -> Outcome:
    """Run one schedule and judge it."""
    chance = random.Random(seed)
    root = Path(tempfile.mkdtemp(prefix="dohost-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        with machine_in(root, chance) as machine:
            world = World(machine, chance)
            world.run()
            world.seen["failed syncs"] += machine.disk.failures
    finally:
        shutil.rmtree(root)
    for (name, part), history in world.histories().items():
        world.seen["histories"] += 1
        world.seen["operations"] += len(history)
        verdict = check(history, *MODELS[part])
        if not verdict.is_linearizable:
            world.violated(f"the {part} of {name} is not linearizable at {verdict.stuck_at}")
    return Outcome(violations=tuple(world.violations), trace=tuple(world.trace), seen=world.seen)


class Found(msgspec.Struct, kw_only=True):
    """What came of many schedules; `digest` is one of all that happened in them."""

    schedules: int = 0
    digest: str = ""
    seen: dict[str, int] = msgspec.field(default_factory=Counter)
    violations: dict[int, tuple[str, ...]] = msgspec.field(default_factory=dict)


def explore(seeds: Iterable[int], *, stop_at: int = 1) -> Found:
    """Run schedules until that many have failed; says how far it is now and then."""
    found = Found()
    is_collecting = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        last_s = began_s = time.monotonic()
        for seed in seeds:
            outcome = run_seed(seed)
            found.schedules += 1
            found.seen = Counter(found.seen) + outcome.seen
            found.digest = hashlib.sha256(f"{found.digest}{outcome.digest}".encode()).hexdigest()
            if outcome.violations:
                found.violations[seed] = outcome.violations
                if len(found.violations) >= stop_at:
                    break
            if found.schedules % COLLECT_EVERY == 0:
                gc.collect()
                now_s = time.monotonic()
                if now_s - last_s > PROGRESS_S:
                    last_s = now_s
                    each_ms = (now_s - began_s) * 1000 / found.schedules
                    print(
                        f"seed {seed}: {found.schedules} run, {each_ms:.1f} ms each",
                        file=sys.stderr,
                    )
    finally:
        gc.unfreeze()
        if is_collecting:
            gc.enable()
    return found


def main(arguments: list[str]) -> int:
    """Run the seeds that are asked for; 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0..19999", help="FIRST..LAST")
    parser.add_argument("--bug", choices=sorted(RUNTIME_BUGS), help="plant this bug first")
    parser.add_argument("--stop-at", type=int, default=1, help="end after so many failing seeds")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    given = parser.parse_args(arguments)
    first, last = map(int, given.seeds.split(".."))
    with planted(given.bug):
        if given.trace:
            for line in run_seed(first).trace:
                print(*line)
        found = explore(range(first, last + 1), stop_at=given.stop_at)
    print(msgspec.json.encode(found).decode())
    return 1 if found.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
