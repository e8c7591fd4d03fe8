"""The host's own file: a failure is told in the host's words, and does not outlast its cause."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest

from dohost.errors import StorageFailure
from dohost.runtime.catalog import Catalog, Found, ObjectKey, open_catalog

KEY = ObjectKey("app-Counter", "ab" * 32, "alice")
OTHER = ObjectKey("app-Counter", "cd" * 32, "bob")


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with Catalog(tmp_path / "catalog.sqlite", asyncio.get_running_loop()) as opened:
        yield opened


def fail_once(catalog: Catalog, monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    connection = catalog._connection
    assert connection is not None
    real = connection.execute

    async def execute(sql: str, *arguments: object) -> object:
        if sql == statement:
            monkeypatch.undo()
            raise aiosqlite.OperationalError("disk I/O error")
        return await real(sql, *arguments)

    monkeypatch.setattr(connection, "execute", execute)


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
async def test_a_transaction_that_fails_does_not_fail_the_next(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    fail_once(catalog, monkeypatch, statement)
    with pytest.raises(StorageFailure, match="disk I/O error") as caught:
        await catalog.add_object(KEY, created_ms=1)
    assert caught.value.outcome == "unknown"
    await catalog.add_object(OTHER, created_ms=2)
    assert await catalog.objects("app-Counter") == [OTHER]


async def test_what_is_recorded_while_the_files_are_read_is_not_forgotten_by_it(
    catalog: Catalog,
) -> None:
    third = ObjectKey("app-Counter", "ef" * 32, "carol")
    for key in (KEY, OTHER):
        await catalog.add_object(key, created_ms=1)
    await catalog.set_alarm(third, 5)
    await catalog.set_alarm(OTHER, 6)

    async def read() -> Found:
        await catalog.forget_object(KEY)
        await catalog.add_object(third, created_ms=2)
        await catalog.set_alarm(third, 7)
        return Found(objects=[(KEY, 9)], alarms=[(KEY, 9), (third, 99)], forgotten=[])

    await catalog.learn(read)
    assert await catalog.all_objects() == [third]
    assert await catalog.alarms() == [(third, 7)]


@pytest.mark.parametrize("indexed_ms", [5, 50])
async def test_an_alarm_goes_to_no_later_time_by_what_a_file_says(
    catalog: Catalog, indexed_ms: int
) -> None:
    await catalog.set_alarm(KEY, indexed_ms)

    async def read() -> Found:
        return Found(objects=[(KEY, 1)], alarms=[(KEY, 20)], forgotten=[])

    await catalog.learn(read)
    assert await catalog.alarms() == [(KEY, min(indexed_ms, 20))]


async def test_learning_that_fails_leaves_what_was_known_and_no_transaction(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read() -> Found:
        return Found(objects=[], alarms=[], forgotten=[])

    await catalog.add_object(KEY, created_ms=1)
    fail_once(catalog, monkeypatch, "COMMIT")
    with pytest.raises(StorageFailure, match="disk I/O error"):
        await catalog.learn(read)
    await catalog.add_object(OTHER, created_ms=2)
    assert await catalog.all_objects() == [KEY, OTHER]


async def test_it_is_asked_about_one_object_at_once(catalog: Catalog) -> None:
    assert not catalog.knows(KEY)
    await catalog.add_object(KEY, created_ms=1)
    assert catalog.knows(KEY)
    assert catalog.knows(ObjectKey("app-Counter", "ab" * 32))
    assert not catalog.knows(OTHER)


async def test_a_catalog_that_can_not_be_opened_says_so_and_leaves_no_thread(
    tmp_path: Path,
) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"junk" * 5000)
    before = set(threading.enumerate())
    with pytest.raises(StorageFailure, match="can't be used: file is not a database"):
        await open_catalog(path, asyncio.get_running_loop())
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
