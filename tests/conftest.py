"""What every room's tests may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from host_bench import Bench


def pytest_configure(config: pytest.Config) -> None:
    """Load our own plugin also where the metadata of an editable install is older than it."""
    if not config.pluginmanager.hasplugin("dohost"):
        config.pluginmanager.import_plugin("dohost.testing.plugin")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A host on a temporary directory, running code that the test writes."""
    bench = Bench(tmp_path)
    yield bench
    await bench.host.drain(grace_s=1)
