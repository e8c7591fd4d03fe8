"""Simulators on a temporary directory, under a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from ungated import make_resources

from dohost.clock import ManualClock
from dohost.simulators.resources import Resources


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def resources(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Resources]:
    """Fresh simulators; closed at the end."""
    made = make_resources(tmp_path, clock)
    yield made
    await made.close()
