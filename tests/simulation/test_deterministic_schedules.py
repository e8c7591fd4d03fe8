"""Tens of thousands of schedules of the core keep every promise; a core with a planted bug is found out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import msgspec
import pytest

from tests.simulation.planted_bugs import RUNTIME_BUGS, planted
from tests.simulation.schedules import Found, explore, run_seed

SCHEDULES = int(os.environ.get("DOHOST_SCHEDULES", "20000"))
# At most so many schedules are needed; measured: 1 to 1,200.
SEEDS_WITH_BUG = {"successor-answers-early": 3_000}
SEEDS_WITH_BUG_MOSTLY = 300


def command(first: int, last: int) -> list[str]:
    return [
        *(sys.executable, "-m", "tests.simulation.schedules"),
        *("--seeds", f"{first}..{last}", "--stop-at", "20"),
    ]


def test_some_schedules_keep_every_promise() -> None:
    found = explore(range(40))
    assert not found.violations
    for kind in ("power cuts", "kills", "alarms run", "alarms failed", "errors"):
        assert found.seen[kind] > 0, found.seen


def test_one_seed_is_one_schedule() -> None:
    digests = {seed: run_seed(seed).digest for seed in range(6)}
    assert digests == {seed: run_seed(seed).digest for seed in range(6)}
    assert len(set(digests.values())) == len(digests)


@pytest.mark.long
def test_a_seed_replays_in_another_process() -> None:
    outputs = {
        subprocess.run(
            command(0, 30),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_schedule_breaks_a_promise() -> None:
    half = SCHEDULES // 2
    runs = [
        subprocess.Popen(command(first, first + half - 1), stdout=subprocess.PIPE)
        for first in (0, half)
    ]
    found = [msgspec.json.decode(run.communicate()[0], type=Found) for run in runs]
    violations = found[0].violations | found[1].violations
    assert not violations, violations
    assert found[0].schedules + found[1].schedules == half * 2
    seen = Counter(found[0].seen) + Counter(found[1].seen)
    print(f"\n{half * 2} schedules: {dict(seen)}")
    # They have to be about something: every kind of trouble is there, and often.
    for kind in ("power cuts", "kills", "evictions", "resets", "failed syncs", "alarms failed"):
        assert seen[kind] > half * 2 // 40, seen
    assert seen["operations"] > half * 2 * 20, seen


@pytest.mark.long
@pytest.mark.parametrize("bug", sorted(RUNTIME_BUGS))
def test_a_planted_bug_is_found_by_few_schedules(bug: str) -> None:
    with planted(bug):
        found = explore(range(SEEDS_WITH_BUG.get(bug, SEEDS_WITH_BUG_MOSTLY)))
    assert found.violations, found
    assert not explore(range(3)).violations, "the bug is gone again"
