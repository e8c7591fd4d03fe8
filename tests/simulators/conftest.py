"""Simulators on a temporary directory, under a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from ungated import UngatedOutlet

from dohost.clock import ManualClock, SeededEntropy
from dohost.simulators.resources import Resources


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def resources(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Resources]:
    """Fresh simulators; closed at the end."""
    made = Resources(tmp_path, outlet=UngatedOutlet(), clock=clock, entropy=SeededEntropy(1))
    yield made
    await made.close()
