"""Cursors of user SQL: their position, what they count, and what they lock."""

from __future__ import annotations

import gc

import pytest
from storage_bench import StorageBench

from dohost.errors import JsException
from dohost.storage.sql import CURSORS_MAX


@pytest.fixture
def table(bench: StorageBench) -> StorageBench:
    """A table `t` of the numbers 1 to 3 and their names."""
    bench.sql(
        """CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
        INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')"""
    )
    return bench


def test_the_same_text_can_be_read_twice_at_once(table: StorageBench) -> None:
    text = "SELECT id FROM t"
    first, second = table.storage.sql.exec(text), table.storage.sql.exec(text)
    assert [next(first).id, next(second).id, next(first).id, next(second).id] == [1, 1, 2, 2]
    assert first.toArray() == second.toArray() == [{"id": 3}]
    assert list(first) == []


def test_raw_shares_the_position_of_its_cursor(table: StorageBench) -> None:
    cursor = table.storage.sql.exec("SELECT id FROM t")
    next(cursor)
    assert next(cursor.raw()) == [2]
    assert cursor.toArray() == [{"id": 3}]


def test_rows_read_run_one_ahead(table: StorageBench) -> None:
    cursor = table.storage.sql.exec("SELECT id FROM t")
    seen = [cursor.rowsRead for _ in cursor]
    assert seen == [2, 3, 3]
    assert cursor.rowsWritten == 0


def test_rows_written_are_counted(table: StorageBench) -> None:
    sql = table.storage.sql
    assert sql.exec("INSERT INTO t VALUES (4, 'four')").rowsWritten == 1
    assert sql.exec("UPDATE t SET name = ''").rowsWritten == 4
    assert sql.exec("SELECT * FROM t WHERE id IN (1, 2)").rowsWritten == 0


def test_writes_run_to_their_end_though_nobody_reads_them(table: StorageBench) -> None:
    cursor = table.storage.sql.exec("INSERT INTO t VALUES (4, 'a'), (5, 'b') RETURNING id")
    table.end_turn()
    assert cursor.toArray() == [{"id": 4}, {"id": 5}]
    table.reopen()
    assert len(table.sql("SELECT * FROM t")) == 5


def test_an_open_cursor_locks_its_table_until_it_is_read_or_dropped(table: StorageBench) -> None:
    cursor = table.storage.sql.exec("SELECT * FROM t")
    with pytest.raises(JsException, match="database table is locked: SQLITE_LOCKED"):
        table.sql("DROP TABLE t")
    del cursor
    gc.collect()
    table.sql("DROP TABLE t")


def test_a_cursor_read_to_its_last_row_locks_nothing(table: StorageBench) -> None:
    cursor = table.storage.sql.exec("SELECT * FROM t")
    for _ in range(3):
        next(cursor)
    table.sql("DROP TABLE t")


def test_a_cursor_may_stay_open_over_a_commit(table: StorageBench) -> None:
    cursor = table.storage.sql.exec("SELECT id FROM t")
    table.end_turn()
    table.sql("UPDATE t SET name = 'x'")
    table.end_turn()
    assert cursor.toArray() == [{"id": 1}, {"id": 2}, {"id": 3}]


def test_open_cursors_are_bounded_in_number(table: StorageBench) -> None:
    cursors = [table.storage.sql.exec("SELECT id FROM t") for _ in range(CURSORS_MAX)]
    assert next(cursors[0]).id == 1
    extra = table.storage.sql.exec("SELECT id FROM t")
    with pytest.raises(JsException, match=f"more than {CURSORS_MAX} cursors"):
        next(cursors[0])
    assert next(cursors[1]).id == 1
    assert next(extra).id == 1


def test_an_error_in_the_middle_of_reading_ends_the_cursor(table: StorageBench) -> None:
    text = "SELECT CASE id WHEN 3 THEN abs(-9223372036854775808) ELSE id END AS x FROM t"
    cursor = table.storage.sql.exec(text)
    next(cursor)
    with pytest.raises(JsException, match="integer overflow: SQLITE_ERROR"):
        next(cursor)
    assert list(cursor) == []
    assert table.sql("SELECT 1 AS ok") == [{"ok": 1}]
