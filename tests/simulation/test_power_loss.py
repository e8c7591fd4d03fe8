"""Power cuts lose nothing that was acknowledged, and a checker that could not see it is no proof."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.simulation.planted_bugs import DISK_BUGS
from tests.simulation.power_loss import explore

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

STATES = int(os.environ.get("DOHOST_POWER_STATES", "10000"))
STATES_WITH_BUG = 800


def test_no_power_cut_loses_or_tears_what_was_acknowledged() -> None:
    found = explore(STATES, seed=1)
    assert not found.violations, found.examples
    assert found.states >= STATES
    assert found.acknowledgements >= 200
    # Most states have to differ, or they would not be worth counting.
    assert found.distinct > found.states // 4


@pytest.mark.parametrize(
    ("bug", "kinds"),
    [
        ("no-fsync", {"lost"}),
        ("synchronous-off", {"lost", "torn"}),
        ("no-entry-sync", {"lost"}),
        ("early-answer", {"lost"}),
        ("torn-pair", {"torn"}),
        ("late-alarm-index", {"alarm"}),
        ("no-alarm-index", {"alarm"}),
    ],
)
def test_a_planted_bug_is_found(bug: str, kinds: set[str]) -> None:
    assert bug in DISK_BUGS
    found = explore(STATES_WITH_BUG, seed=1, bug=bug)
    assert kinds & set(found.violations), found
