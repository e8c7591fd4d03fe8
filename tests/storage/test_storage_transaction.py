"""Transactions: implicit, explicit, synchronous, nested, and what a critical error does to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from storage_bench import StorageBench

from dohost.errors import JsException
from dohost.storage.explicit import DurableObjectTransaction


async def test_a_transaction_gives_its_value_and_keeps_its_writes(bench: StorageBench) -> None:
    async def work(txn: DurableObjectTransaction) -> object:
        await txn.put("k", 1)
        return await txn.get("k")

    assert await bench.storage.transaction(work) == 1
    bench.end_turn()
    bench.reopen()
    assert await bench.storage.get("k") == 1


async def test_a_transaction_commits_first_what_was_open(bench: StorageBench) -> None:
    await bench.storage.put("before", 1)

    async def fail(txn: DurableObjectTransaction) -> None:
        assert not bench.database.in_transaction
        await txn.put("k", 1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await bench.storage.transaction(fail)
    assert await bench.storage.get("before") == 1
    assert await bench.storage.get("k") is None


async def test_the_callback_may_be_an_ordinary_function(bench: StorageBench) -> None:
    assert await bench.storage.transaction(lambda txn: "test") == "test"


async def test_no_turn_that_ends_inside_a_transaction_commits_a_part_of_it(
    bench: StorageBench,
) -> None:
    async def work(txn: DurableObjectTransaction) -> None:
        await txn.put("a", 1)
        assert bench.host.confirmed == []
        await asyncio.sleep(0)
        bench.database.commit()
        assert bench.database.in_transaction
        await txn.put("b", 2)

    await bench.storage.transaction(work)
    assert bench.host.confirmed == [True]
    bench.end_turn()
    assert not bench.database.in_transaction


async def test_a_transaction_of_unconfirmed_writes_is_unconfirmed(bench: StorageBench) -> None:
    async def work(txn: DurableObjectTransaction) -> None:
        await txn.put("a", 1, allowUnconfirmed=True)

    await bench.storage.transaction(work)
    assert bench.host.confirmed == [False]


async def test_a_transaction_that_only_reads_makes_no_file(bench: StorageBench) -> None:
    async def work(txn: DurableObjectTransaction) -> object:
        return await txn.get("k")

    assert await bench.storage.transaction(work) is None
    assert bench.storage.transactionSync(lambda: 5) == 5
    assert not bench.database.exists


async def test_rollback_undoes_and_ends_the_use_of_txn(bench: StorageBench) -> None:
    await bench.storage.put("k", "old")

    async def work(txn: DurableObjectTransaction) -> str:
        await txn.put("k", "new")
        txn.rollback()
        txn.rollback()
        assert await bench.storage.get("k") == "old"
        with pytest.raises(
            JsException, match=r"^Error: Cannot get\(\) on rolled back transaction$"
        ):
            txn.get("k")
        with pytest.raises(JsException, match=r"Cannot setAlarm\(\) on rolled back transaction"):
            txn.setAlarm(1)
        assert repr(txn) == "<DurableObjectTransaction rolled back>"
        return "value"

    assert await bench.storage.transaction(work) == "value"
    assert await bench.storage.get("k") == "old"


async def test_txn_is_of_no_use_after_its_callback(bench: StorageBench) -> None:
    kept: list[DurableObjectTransaction] = []
    await bench.storage.transaction(kept.append)
    for attempt in (
        lambda: kept[0].get("k"),
        lambda: kept[0].put("k", 1),
        lambda: kept[0].delete("k"),
        lambda: kept[0].list(),
        lambda: kept[0].getAlarm(),
        lambda: kept[0].deleteAlarm(),
        kept[0].rollback,
    ):
        with pytest.raises(
            JsException,
            match=r"Cannot call \w+\(\) on transaction that has already committed: did you move `txn`",
        ):
            attempt()


async def test_a_txn_has_the_storages_operations(bench: StorageBench) -> None:
    due = bench.now_ms + 50

    async def work(txn: DurableObjectTransaction) -> None:
        await txn.put({"a": 1, "b": 2})
        assert await txn.delete("a") is True
        assert await txn.list() == {"b": 2}
        await txn.setAlarm(due)
        assert await txn.getAlarm() == due
        await txn.deleteAlarm()
        assert await txn.getAlarm() is None
        bench.sql("CREATE TABLE t (x)")

    await bench.storage.transaction(work)
    assert bench.sql("SELECT * FROM t") == []


async def test_the_inner_transaction_goes_with_the_outer_one(bench: StorageBench) -> None:
    await bench.storage.put("k", 0)

    async def inner(txn: DurableObjectTransaction) -> None:
        await txn.put("k", 7)

    async def outer(txn: DurableObjectTransaction) -> None:
        await bench.storage.transaction(inner)
        assert await txn.get("k") == 7
        txn.rollback()

    await bench.storage.transaction(outer)
    assert await bench.storage.get("k") == 0


async def test_an_inner_transaction_fails_alone(bench: StorageBench) -> None:
    async def inner(txn: DurableObjectTransaction) -> None:
        await txn.put("inner", 1)
        raise ValueError("no")

    async def outer(txn: DurableObjectTransaction) -> None:
        await txn.put("outer", 1)
        with pytest.raises(ValueError, match="no"):
            await bench.storage.transaction(inner)

    await bench.storage.transaction(outer)
    assert await bench.storage.list() == {"outer": 1}


async def test_the_outer_one_can_not_be_rolled_back_while_an_inner_one_runs(
    bench: StorageBench,
) -> None:
    async def outer(txn: DurableObjectTransaction) -> None:
        def inner(_: DurableObjectTransaction) -> None:
            txn.rollback()

        with pytest.raises(JsException, match="while a nested transaction is still running"):
            await bench.storage.transaction(inner)

    await bench.storage.transaction(outer)


async def test_delete_all_is_refused_in_transactions(bench: StorageBench) -> None:
    message = r"Cannot call deleteAll\(\) within a transaction"

    async def work(txn: DurableObjectTransaction) -> None:
        for attempt in (txn.deleteAll, bench.storage.deleteAll):
            with pytest.raises(JsException, match=message):
                attempt()

    await bench.storage.transaction(work)
    with pytest.raises(JsException, match=message):
        bench.storage.transactionSync(bench.storage.deleteAll)


@pytest.mark.parametrize("ending", ["returns", "raises"])
async def test_delete_all_is_not_refused_in_one_that_was_rolled_back(
    bench: StorageBench, ending: str
) -> None:
    bench.storage.put("before", 1)
    bench.end_turn()

    async def work(txn: DurableObjectTransaction) -> None:
        await txn.put("undone", 1)
        txn.rollback()
        await bench.storage.deleteAll()
        await bench.storage.put("after", 1)
        if ending == "raises":
            raise ValueError

    with contextlib.suppress(ValueError):
        await bench.storage.transaction(work)
    bench.end_turn()
    assert dict(await bench.storage.list()) == {"after": 1}


async def test_a_cancelled_transaction_undoes_its_writes(bench: StorageBench) -> None:
    async def work(txn: DurableObjectTransaction) -> None:
        await txn.put("k", 1)
        await asyncio.Event().wait()

    task = asyncio.ensure_future(bench.storage.transaction(work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.storage.get("k") is None
    bench.end_turn()
    assert not bench.database.in_transaction


async def test_a_transaction_whose_object_is_reset_ends_quietly(bench: StorageBench) -> None:
    async def work(txn: DurableObjectTransaction) -> None:
        await txn.put("k", 1)
        await asyncio.Event().wait()

    task = asyncio.ensure_future(bench.storage.transaction(work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    bench.database.rollback()
    bench.database.close()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bench.open()
    assert await bench.storage.get("k") is None


# transactionSync


def test_transaction_sync_keeps_or_undoes(bench: StorageBench) -> None:
    assert bench.storage.transactionSync(lambda: bench.sql("CREATE TABLE kept (x)") or 5) == 5

    def fail() -> None:
        bench.sql("CREATE TABLE undone (x)")
        bench.sql("SELECT * FROM nope")

    with pytest.raises(JsException, match="no such table: nope"):
        bench.storage.transactionSync(fail)
    names = [row["name"] for row in bench.sql("SELECT name FROM pragma_table_list")]
    assert "kept" in names
    assert "undone" not in names


def test_only_the_inner_transaction_sync_is_undone(bench: StorageBench) -> None:
    kv = bench.storage.kv

    def inner() -> None:
        kv.put("inner", 1)
        raise KeyError("x")

    def outer() -> None:
        kv.put("outer", 1)
        with pytest.raises(KeyError):
            bench.storage.transactionSync(inner)

    bench.storage.transactionSync(outer)
    assert list(kv.list()) == [["outer", 1]]


def test_the_very_first_write_can_be_undone(bench: StorageBench) -> None:
    def fail() -> None:
        bench.storage.put("k", 1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        bench.storage.transactionSync(fail)
    assert bench.storage.kv.get("k") is None
    bench.storage.put("k", 2)
    bench.end_turn()
    bench.reopen()
    assert bench.storage.kv.get("k") == 2


async def test_an_async_callback_is_returned_not_run(bench: StorageBench) -> None:
    async def work() -> int:
        return 5

    assert await bench.storage.transactionSync(work) == 5


def test_a_class_without_sql_has_no_transaction_sync(
    open_bench: Callable[..., StorageBench],
) -> None:
    with pytest.raises(JsException, match=r"Durable Object is not backed by SQL\."):
        open_bench(sql_enabled=False).storage.transactionSync(lambda: 1)


async def test_writes_of_one_turn_are_one_commit(bench: StorageBench) -> None:
    await bench.storage.put("a", 1)
    await bench.storage.put("b", 1)
    bench.reopen()
    assert await bench.storage.list() == {}
    await bench.storage.put("a", 1)
    bench.end_turn()
    await bench.storage.put("b", 1)
    bench.reopen()
    assert await bench.storage.list() == {"a": 1}


# Critical errors

INSERT_BIG = "INSERT INTO t VALUES (?, ?)"
FULL = r"database or disk is full: SQLITE_FULL"


@pytest.fixture
def small(bench: StorageBench) -> StorageBench:
    """A table with the row 1, in a file that can't grow beyond ten pages."""
    bench.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, data TEXT); INSERT INTO t VALUES (1, '')")
    bench.database.run("PRAGMA max_page_count = 10")
    bench.end_turn()
    return bench


def insert_big(bench: StorageBench) -> None:
    bench.sql(INSERT_BIG, 3, "x" * 1_000_000)


async def test_a_full_disk_loses_the_open_transaction_and_breaks_the_object(
    small: StorageBench,
) -> None:
    small.sql(INSERT_BIG, 2, "")
    with pytest.raises(JsException, match=FULL) as caught:
        insert_big(small)
    assert small.host.broken is caught.value
    with pytest.raises(JsException, match=FULL):
        insert_big(small)
    small.reopen()
    assert small.sql("SELECT id FROM t") == [{"id": 1}]


async def test_swallowing_a_critical_error_in_transaction_sync_does_not_help(
    small: StorageBench,
) -> None:
    def swallow() -> None:
        with pytest.raises(JsException, match=FULL):
            insert_big(small)

    with pytest.raises(
        JsException, match="Cannot commit transaction due to an earlier SQL critical"
    ):
        small.storage.transactionSync(swallow)


async def test_the_users_error_wins_over_a_critical_one_in_transaction_sync(
    small: StorageBench,
) -> None:
    def fail() -> None:
        with pytest.raises(JsException, match=FULL):
            insert_big(small)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        small.storage.transactionSync(fail)


async def test_a_critical_error_in_a_transaction_keeps_what_was_committed_before(
    small: StorageBench,
) -> None:
    small.sql(INSERT_BIG, 2, "")
    with pytest.raises(JsException, match=FULL):
        await small.storage.transaction(lambda txn: insert_big(small))
    small.reopen()
    assert small.sql("SELECT id FROM t") == [{"id": 1}, {"id": 2}]


async def test_or_rollback_is_critical_too(bench: StorageBench) -> None:
    bench.sql("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
    bench.end_turn()
    bench.storage.put("k", 1)
    with pytest.raises(JsException, match="UNIQUE constraint failed") as caught:
        bench.sql("INSERT OR ROLLBACK INTO t VALUES (1)")
    assert bench.host.broken is caught.value
    assert not bench.database.in_transaction
