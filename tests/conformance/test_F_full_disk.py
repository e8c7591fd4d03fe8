"""Rows F13 to F15: a database that may not grow. The open transaction is lost, and the object reset."""

from __future__ import annotations

import pytest
from storage_rows import inside, query

from dohost.errors import JsException
from dohost.storage.storage import DurableObjectStorage
from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(main="programs/store.py", evict_after_s=None)

PAGES_MAX = 10
FULL = "database or disk is full: SQLITE_FULL"
EARLIER = "Cannot commit transaction due to an earlier SQL critical error"


def insert(storage: DurableObjectStorage, number: int, text: str = "") -> None:
    storage.sql.exec("INSERT INTO t VALUES (?, ?)", number, text)


def insert_too_much(storage: DurableObjectStorage) -> None:
    insert(storage, 3, "x" * 1_000_000)


async def prepare(storage: DurableObjectStorage) -> None:
    """Store row 1 for good and row 2 in the open transaction, with room for a few pages."""
    storage.sql.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, text)")
    insert(storage, 1)
    await storage.sync()
    storage._database.run(f"PRAGMA max_page_count = {PAGES_MAX}")
    insert(storage, 2)


async def ids(dohost: IsolatedHost) -> list[object]:
    return [row["id"] for row in await query(dohost, "SELECT id FROM t ORDER BY id")]


async def test_F13_a_full_disk_fails_the_request_though_the_error_was_caught(
    dohost: IsolatedHost,
) -> None:
    async def body(storage: DurableObjectStorage) -> None:
        await prepare(storage)
        with pytest.raises(JsException, match=FULL):
            insert_too_much(storage)
        with pytest.raises(JsException, match=FULL):
            insert(storage, 4)

    with pytest.raises(JsException, match=FULL):
        await inside(dohost, body)
    assert await ids(dohost) == [1]


@pytest.mark.parametrize("is_swallowed", [True, False])
async def test_F14_a_full_disk_in_transaction_sync(
    dohost: IsolatedHost, is_swallowed: bool
) -> None:
    async def body(storage: DurableObjectStorage) -> None:
        def callback() -> None:
            with pytest.raises(JsException, match=FULL):
                insert_too_much(storage)
            if not is_swallowed:
                raise ValueError("mine")

        await prepare(storage)
        expected = (JsException, EARLIER) if is_swallowed else (ValueError, "mine")
        with pytest.raises(expected[0], match=expected[1]):
            storage.transactionSync(callback)

    with pytest.raises(JsException, match=FULL):
        await inside(dohost, body)
    assert await ids(dohost) == [1]


async def test_F15_a_full_disk_in_a_transaction_keeps_what_was_committed_before(
    dohost: IsolatedHost,
) -> None:
    async def body(storage: DurableObjectStorage) -> None:
        async def callback(txn: object) -> None:
            insert_too_much(storage)

        await prepare(storage)
        await storage.transaction(callback)

    with pytest.raises(JsException, match=FULL):
        await inside(dohost, body)
    assert await ids(dohost) == [1, 2]
