"""Power cuts at every moment of a real run: rebuild what the disk may hold, open it, compare.

    python -m tests.simulation.power_loss [--states 500000] [--seed 1] [--bug NAME]

A run of the host is traced (`traced_run`, `disk_trace`); between any two of its calls the power may go,
and `disk_model` says what may be left. Every object found is opened by the product's own code and compared
with the model of its history (`cell`), with what had been acknowledged by then, and with the index of
alarms in the catalog of the same state.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.simulation.crash_state import CrashState, Opener, violations
from tests.simulation.disk_model import FATES, Disk, Fate
from tests.simulation.disk_trace import Effect, Left, effects, strace

PROJECT = Path(__file__).parents[2]


class Found(msgspec.Struct, kw_only=True):
    """What an exploration has seen."""

    states: int = 0
    distinct: int = 0
    effects: int = 0
    acknowledgements: int = 0
    runs: int = 0
    violations: Counter[str] = msgspec.field(default_factory=Counter)
    examples: list[str] = msgspec.field(default_factory=list)


def trace_run(root: Path, *, seed: int, bug: str | None = None) -> list[Effect]:
    """Run the host in `root` under strace and return its effects."""
    trace = root / "trace"
    command = [*strace(str(trace)), sys.executable, "-m", "tests.simulation.traced_run"]
    command += [str(root), str(seed), *([bug] if bug else [])]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with trace.open() as lines:
        found = list(effects(lines, root=str(root), acks=str(root / "acks")))
    trace.unlink()
    return found


def explore(states: int, *, seed: int, bug: str | None = None, each_run: int = 2500) -> Found:
    """Look at `states` crash states, of as many runs as that takes."""
    found = Found()
    while found.states < states:
        with tempfile.TemporaryDirectory(prefix="power") as directory:
            root = Path(directory).resolve()
            history = trace_run(root, seed=seed + found.runs, bug=bug)
            _explore_run(history, root, min(each_run, states - found.states), found, seed)
        found.runs += 1
    return found


def _explore_run(history: list[Effect], root: Path, states: int, found: Found, seed: int) -> None:
    chance = random.Random(seed * 1_000_003 + found.runs)
    opener = Opener(_scratch(root))
    final = opener.histories(_left_by_run(root))
    moments = sorted(chance.choices(range(len(history) + 1), k=states))
    found.effects += len(history)
    for moment, state in _states(history, moments, chance):
        found.states += 1
        for violation in violations(state, opener, final):
            kind = violation.partition(":")[0]
            found.violations[kind] += 1
            if found.violations[kind] <= 3:
                found.examples.append(f"run {found.runs}, effect {moment}: {violation}")
    found.acknowledgements += sum(isinstance(effect, Left) for effect in history)
    found.distinct += opener.opened
    opener.close()


def _states(
    history: list[Effect], moments: list[int], chance: random.Random
) -> Iterator[tuple[int, CrashState]]:
    """Yield a crash state for each moment: after so many effects, never before the first."""
    disk = Disk(chance)
    acknowledged: Counter[int] = Counter()
    taken = 0
    for moment in moments:
        for effect in history[taken:moment]:
            disk.take(effect)
            if isinstance(effect, Left):
                cell, count = map(int, effect.text.split())
                acknowledged[cell] = max(acknowledged[cell], count)
        taken = moment
        yield moment, _cut(disk, acknowledged, chance)


def _cut(disk: Disk, acknowledged: Counter[int], chance: random.Random) -> CrashState:
    files = disk.after_power_cut(chance)
    is_uniform = chance.random() < 0.3
    common = chance.choice(FATES)
    contents: dict[str, bytes] = {}
    junk: set[str] = set()
    for path, file in files.items():
        fate = common if is_uniform else chance.choice(FATES)
        contents[path] = file.image(fate, chance)
        if fate is Fate.junk and file.pending:
            junk.add(path)
    return CrashState(contents=contents, junk=frozenset(junk), acknowledged=dict(acknowledged))


def _left_by_run(root: Path) -> dict[str, bytes]:
    """Return the files as the run itself saw them at its end."""
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _scratch(root: Path) -> Path:
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="power", dir=memory if memory.is_dir() else root))


def main() -> int:
    """Explore and print what was seen; exit 1 if anything acknowledged was lost or torn."""
    parser = argparse.ArgumentParser(description="Explore power cuts.")
    parser.add_argument("--states", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bug", help="a bug of planted_bugs to plant")
    options = parser.parse_args()
    started = time.monotonic()
    found = explore(options.states, seed=options.seed, bug=options.bug)
    print(
        f"{found.states} states ({found.distinct} distinct files opened) of {found.runs} runs with "
        f"{found.effects} effects and {found.acknowledgements} acknowledgements "
        f"in {time.monotonic() - started:.0f} s: {dict(found.violations) or 'no violation'}"
    )
    print(*found.examples, sep="\n")
    return 1 if found.violations else 0


if __name__ == "__main__":
    sys.exit(main())
