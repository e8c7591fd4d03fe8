"""What every room's tests may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from host_bench import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A host on a temporary directory, running code that the test writes."""
    bench = Bench(tmp_path)
    yield bench
    await bench.host.drain(grace_s=1)
