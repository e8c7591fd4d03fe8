"""A storage on a temporary directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from storage_bench import StorageBench


@pytest.fixture
def open_bench(tmp_path: Path) -> Iterator[Callable[..., StorageBench]]:
    opened: list[StorageBench] = []

    def open_one(**options: bool) -> StorageBench:
        opened.append(StorageBench(tmp_path / str(len(opened)), **options))
        return opened[-1]

    yield open_one
    for each in opened:
        each.database.close()


@pytest.fixture
def bench(open_bench: Callable[..., StorageBench]) -> StorageBench:
    return open_bench()
