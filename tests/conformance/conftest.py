"""A bench whose host has a server in front of it, and idle eviction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wire_bench import WireBench


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[WireBench]:
    """A host that evicts after 10 s by the bench's clock, served over a real socket."""
    bench = WireBench(tmp_path)
    try:
        yield bench
    finally:
        await bench.stop()
