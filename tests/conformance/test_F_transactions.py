"""Rows F: transactions and coalescing. (F13 to F15: test_F_full_disk.py; F16 is with D26.)"""

from __future__ import annotations

import asyncio

import pytest
from storage_rows import inside, query, store

from dohost.errors import JsException
from dohost.storage.explicit import DurableObjectTransaction
from dohost.storage.storage import DurableObjectStorage
from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(main="programs/store.py", evict_after_s=None)


async def stored(dohost: IsolatedHost, key: str = "k") -> object:
    return await inside(dohost, lambda storage: storage.get(key))


async def put_and_get(txn: DurableObjectTransaction) -> object:
    await txn.put("k", 1)
    return await txn.get("k")


async def test_F1_a_transaction_gives_its_value_and_keeps_its_writes(dohost: IsolatedHost) -> None:
    assert await inside(dohost, lambda storage: storage.transaction(put_and_get)) == 1
    await dohost.evict(store(dohost))
    assert await stored(dohost) == 1


async def test_F2_a_transaction_waits_for_what_is_open(dohost: IsolatedHost) -> None:
    async def body(storage: DurableObjectStorage) -> object:
        storage.put("other", 2)
        return await storage.transaction(put_and_get)

    assert await inside(dohost, body) == 1
    assert await store(dohost).keys() == ["k", "other"]


async def test_F2_sync_works_in_a_transaction_that_follows_another(dohost: IsolatedHost) -> None:
    async def sync(txn: DurableObjectTransaction) -> None:
        await synced()

    async def body(storage: DurableObjectStorage) -> None:
        nonlocal synced
        synced = storage.sync
        await storage.put("k", 0)
        await storage.transaction(put_and_get)
        await storage.transaction(sync)

    synced = None
    await inside(dohost, body)
    assert await stored(dohost) == 1


async def test_F3_rollback_undoes_and_ends_the_use_of_txn(dohost: IsolatedHost) -> None:
    async def callback(txn: DurableObjectTransaction) -> None:
        await txn.put("k", 2)
        txn.rollback()
        txn.rollback()
        with pytest.raises(JsException, match=r"Cannot get\(\) on rolled back transaction"):
            await txn.get("k")

    await inside(dohost, lambda storage: storage.put("k", 1))
    await inside(dohost, lambda storage: storage.transaction(callback))
    assert await stored(dohost) == 1


async def test_F4_an_exception_undoes_and_the_object_lives(dohost: IsolatedHost) -> None:
    async def callback(txn: DurableObjectTransaction) -> None:
        await txn.put("k", 2)
        raise ValueError("mine")

    async def body(storage: DurableObjectStorage) -> None:
        await storage.put("k", 1)
        with pytest.raises(ValueError, match="mine"):
            await storage.transaction(callback)

    await inside(dohost, body)
    assert await stored(dohost) == 1


async def test_F5_the_inner_transaction_goes_with_the_outer(dohost: IsolatedHost) -> None:
    async def body(storage: DurableObjectStorage) -> None:
        async def inner(txn: DurableObjectTransaction) -> None:
            await txn.put("k", 7)

        async def outer(txn: DurableObjectTransaction) -> None:
            await storage.transaction(inner)
            assert await storage.get("k") == 7
            txn.rollback()

        await storage.put("k", 1)
        await storage.transaction(outer)

    await inside(dohost, body)
    assert await stored(dohost) == 1


async def test_F6_transaction_sync(dohost: IsolatedHost) -> None:
    def body(storage: DurableObjectStorage) -> None:
        sql = storage.sql

        def create(name: str) -> str:
            sql.exec(f"CREATE TABLE {name} (a)")
            return name

        def fail(name: str) -> None:
            create(name)
            sql.exec("SELECT * FROM nowhere")

        def nested() -> None:
            create("outer_one")
            with pytest.raises(JsException, match="no such table: nowhere"):
                storage.transactionSync(lambda: fail("inner_one"))

        assert storage.transactionSync(lambda: create("kept")) == "kept"
        with pytest.raises(JsException, match="no such table: nowhere"):
            storage.transactionSync(lambda: fail("undone"))
        storage.transactionSync(nested)

    await inside(dohost, body)
    rows = await query(
        dohost, "SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_%' ESCAPE '\\'"
    )
    assert [row["name"] for row in rows] == ["kept", "outer_one"]


def put_and_fail(storage: DurableObjectStorage) -> None:
    storage.put("k", 1)
    raise ValueError("mine")


async def test_F7_the_very_first_write_can_be_undone(dohost: IsolatedHost) -> None:
    def body(storage: DurableObjectStorage) -> None:
        with pytest.raises(ValueError, match="mine"):
            storage.transactionSync(lambda: put_and_fail(storage))
        storage.put("later", 1)

    await inside(dohost, body)
    assert await store(dohost).keys() == ["later"]


async def test_F8_an_alarm_can_be_undone(dohost: IsolatedHost) -> None:
    async def body(storage: DurableObjectStorage) -> None:
        def set_and_fail() -> None:
            storage.setAlarm(dohost.now_ms + 60_000)
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            storage.transactionSync(set_and_fail)
        assert await storage.getAlarm() is None
        await storage.setAlarm(dohost.now_ms + 90_000)
        assert await storage.getAlarm() == dohost.now_ms + 90_000

    await inside(dohost, body)


async def test_F9_no_delete_all_in_a_transaction(dohost: IsolatedHost) -> None:
    async def body(storage: DurableObjectStorage) -> None:
        async def callback(txn: DurableObjectTransaction) -> None:
            for each in (txn, storage):
                with pytest.raises(
                    JsException, match=r"Cannot call deleteAll\(\) within a transaction"
                ):
                    await each.deleteAll()

        await storage.transaction(callback)

    await inside(dohost, body)


async def test_F10_writes_of_one_turn_are_one(dohost: IsolatedHost) -> None:
    with pytest.raises(JsException, match="planned"):
        await store(dohost).put_and_fail_before_the_end()
    assert await store(dohost).keys() == []


async def test_F11_a_turn_that_ended_is_kept(dohost: IsolatedHost) -> None:
    with pytest.raises(JsException, match="planned"):
        await store(dohost).put_pause_put_abort()
    assert await store(dohost).keys() == ["a"]


async def test_F12_txn_is_of_no_use_later(dohost: IsolatedHost) -> None:
    async def body(storage: DurableObjectStorage) -> None:
        kept = []
        await storage.transaction(kept.append)
        with pytest.raises(JsException) as caught:
            await kept[0].get("k")
        assert caught.value.message == (
            "Cannot call get() on transaction that has already committed: "
            "did you move `txn` outside of the closure?"
        )

    await inside(dohost, body)


async def test_F17_no_update_is_lost_between_storage_calls(dohost: IsolatedHost) -> None:
    await asyncio.gather(*(store(dohost).increment() for _ in range(10)))
    assert await store(dohost).read() == 10


async def test_F17_a_pause_between_them_can_lose_one(dohost: IsolatedHost) -> None:
    await asyncio.gather(*(store(dohost).increment_after_a_pause() for _ in range(10)))
    assert await store(dohost).read() < 10
