"""A planted bug that could not be planted any more would only be missed by the long suites."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLANT_ALL = """
from tests.simulation.planted_bugs import DISK_BUGS, FAULT_BUGS, plant
for name in DISK_BUGS | FAULT_BUGS:
    plant(name)
"""


def test_every_bug_can_be_planted() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLANT_ALL],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
