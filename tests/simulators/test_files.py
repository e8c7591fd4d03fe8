"""A simulator's file: one transaction at a time, and none is left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dohost.simulators.files import SimulatorFile, file_name_of


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SimulatorFile]:
    file = SimulatorFile(tmp_path / "x.sqlite", ("CREATE TABLE IF NOT EXISTS t (a)",))
    assert await file.rows("SELECT * FROM t") == []
    yield file
    await file.close()


@pytest.mark.parametrize("turns", range(8))
async def test_a_transaction_that_is_cancelled_anywhere_leaves_none_open(
    file: SimulatorFile, turns: int
) -> None:
    async def write() -> None:
        async with file.transaction() as transaction:
            await transaction.execute("INSERT INTO t VALUES (1)")
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with file.transaction() as transaction:
        await transaction.execute("INSERT INTO t VALUES (2)")
    assert await file.rows("SELECT * FROM t") == [(2,)]


def test_no_id_names_a_file_elsewhere() -> None:
    assert file_name_of("../a b") == "%2e%2e%2fa%20b"
