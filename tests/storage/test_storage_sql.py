"""User SQL: statements, bindings, results, cursors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from storage_bench import StorageBench
from workers.values import JsBigInt, JsDict

from dohost.errors import JsException, JsTypeError


def fails(bench: StorageBench, message: str, text: str, *bindings: object) -> None:
    with pytest.raises(JsException, match=message):
        bench.storage.sql.exec(text, *bindings).toArray()


@pytest.fixture
def table(bench: StorageBench) -> StorageBench:
    """A table `t` of the numbers 1 to 3 and their names."""
    bench.sql(
        """CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
        INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')"""
    )
    return bench


# Results


def test_rows_are_dicts_and_raw_rows_are_lists(bench: StorageBench) -> None:
    sql = bench.storage.sql
    assert list(sql.exec("SELECT 123")) == [{"123": 123}]
    assert list(sql.exec("SELECT 123").raw()) == [[123]]
    assert sql.exec("SELECT 'hello'").columnNames == ["'hello'"]
    assert bench.sql("SELECT ? + ?", 123, 456) == [{"? + ?": 579}]
    row = sql.exec("SELECT 1 AS id, 'x' AS val").one()
    assert type(row) is JsDict
    assert (row["id"], row.val) == (1, "x")


def test_blobs_are_memoryviews(bench: StorageBench) -> None:
    blob = bench.storage.sql.exec("SELECT x'ff' AS blob").one().blob
    assert type(blob) is memoryview
    assert bytes(blob) == b"\xff"
    lengths = bench.sql(
        "SELECT length(?) AS a, length(zeroblob(10)) AS b, ? AS c, ? AS d",
        bytes(12),
        None,
        memoryview(b"xy"),
    )
    assert lengths == [{"a": 12, "b": 10, "c": None, "d": b"xy"}]


def test_next_tells_when_it_is_done(table: StorageBench) -> None:
    cursor = table.storage.sql.exec("SELECT id FROM t")
    steps = [cursor.next() for _ in range(4)]
    assert [step.done for step in steps] == [False, False, False, True]
    assert [step.value for step in steps[:3]] == [{"id": 1}, {"id": 2}, {"id": 3}]
    raw = table.storage.sql.exec("SELECT id FROM t LIMIT 1").raw()
    assert raw.columnNames == ["id"]
    assert raw.next() == {"done": False, "value": [1]}
    assert raw.next() == {"done": True, "value": None}


def test_one_wants_exactly_one_row(table: StorageBench) -> None:
    sql = table.storage.sql
    cursor = sql.exec("SELECT name FROM t WHERE id = 2")
    assert cursor.one() == {"name": "two"}
    assert list(cursor) == []
    with pytest.raises(JsException, match="exactly one result from SQL query, but got no results"):
        sql.exec("SELECT 1 WHERE 0").one()
    several = sql.exec("SELECT * FROM t")
    with pytest.raises(JsException, match=r"query, but got multiple results\.$"):
        several.one()
    assert list(several) == []


def test_names_that_occur_twice_are_told_apart_by_raw(bench: StorageBench) -> None:
    bench.sql(
        """CREATE TABLE a (id, x, same); CREATE TABLE b (id, y, same);
        INSERT INTO a VALUES (1, 2, 3); INSERT INTO b VALUES (1, 5, 6)"""
    )
    cursor = bench.storage.sql.exec("SELECT * FROM a JOIN b ON a.id = b.id")
    assert cursor.columnNames == ["id", "x", "same", "id", "y", "same"]
    assert cursor.raw().toArray() == [[1, 2, 3, 1, 5, 6]]
    assert cursor.columnNames[0] == "id"
    row = bench.storage.sql.exec("SELECT * FROM a JOIN b ON a.id = b.id").one()
    assert row == {"id": 1, "x": 2, "same": 6, "y": 5}


def test_column_names_are_known_without_rows_too(table: StorageBench) -> None:
    sql = table.storage.sql
    assert sql.exec("SELECT id, name FROM t WHERE id > ?", 9).columnNames == ["id", "name"]
    assert sql.exec("UPDATE t SET name = name").columnNames == []
    assert sql.exec("DELETE FROM t WHERE id = 9 RETURNING id").columnNames == ["id"]
    assert sql.exec("INSERT INTO t VALUES (4, 'four') RETURNING name").columnNames == ["name"]


def test_numbers_are_javascripts(bench: StorageBench) -> None:
    row = bench.storage.sql.exec(
        "SELECT 9007199254740993 AS big, 1.0 AS one, 1.5 AS half, 1e300 AS huge"
    ).one()
    assert row == {"big": 2**53, "one": 1, "half": 1.5, "huge": 1e300}
    assert [type(value) for value in row.values()] == [float, int, float, float]


def test_reprs_say_where_a_cursor_is(table: StorageBench) -> None:
    cursor = table.storage.sql.exec("SELECT * FROM t")
    assert repr(cursor) == "<SqlStorageCursor open, 1 rows read>"
    assert repr(cursor.raw()) == "<RawRows of <SqlStorageCursor open, 1 rows read>>"
    assert repr(table.storage.sql) == "<SqlStorage 1 open cursors>"


# Statements


@pytest.mark.parametrize("text", ["", ";", " ; ", "-- only words", "SELECT 1; -- trailing"])
def test_text_must_end_with_a_statement(bench: StorageBench, text: str) -> None:
    fails(bench, r"^Error: SQL code did not contain a statement\.$", text)


def test_white_space_after_the_last_semicolon_is_ignored(bench: StorageBench) -> None:
    assert bench.sql("SELECT 1; \t\n\r\v\f") == [{"1": 1}]
    assert bench.sql("-- first\nSELECT 1 AS x -- last") == [{"x": 1}]


def test_several_statements_run_in_order_and_the_last_gives_the_rows(bench: StorageBench) -> None:
    rows = bench.sql(
        """CREATE TABLE t (a); CREATE INDEX i ON t (a); INSERT INTO t VALUES ('é');
        SELECT a FROM t UNION SELECT 'discarded'; INSERT INTO t VALUES (2); SELECT a FROM t WHERE a = ?""",
        2,
    )
    assert rows == [{"a": 2}]
    assert bench.sql("SELECT 1; SELECT 2;") == [{"2": 2}]


@pytest.mark.parametrize("bindings", [(), (1,), (1, 2)])
def test_only_the_last_statement_has_parameters(
    table: StorageBench, bindings: tuple[object, ...]
) -> None:
    fails(
        table,
        "only the last statement can have parameters",
        "DELETE FROM t WHERE id = ?; SELECT ?",
        *bindings,
    )
    assert len(table.sql("SELECT * FROM t")) == 3


@pytest.mark.parametrize(
    ("text", "bindings"),
    [
        ("SELECT ?", ()),
        ("SELECT ?", (1, 2)),
        ("SELECT 1", (1,)),
        ("SELECT 1; SELECT ?, ?", (1,)),
        ("SELECT 1; SELECT 2", (1,)),
    ],
)
def test_the_number_of_bindings_must_be_exact(
    bench: StorageBench, text: str, bindings: tuple[object, ...]
) -> None:
    fails(bench, r"^Error: Wrong number of parameter bindings for SQL query\.$", text, *bindings)


def test_statements_before_a_failing_one_keep_their_effect(table: StorageBench) -> None:
    fails(table, "no such table: nope", "DELETE FROM t WHERE id = 1; DELETE FROM nope")
    assert len(table.sql("SELECT * FROM t")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT ;", r'^Error: near ";": syntax error at offset 7: SQLITE_ERROR$'),
        ("SELECT -;", "syntax error at offset 8: SQLITE_ERROR$"),
        ("SELEC 1", r'^Error: near "SELEC": syntax error at offset 0: SQLITE_ERROR$'),
        ("SELECT * FROM nope", r"^Error: no such table: nope: SQLITE_ERROR$"),
        ("INSERT INTO t VALUES (1, 'again')", r"^Error: UNIQUE constraint failed: t\.id: SQLITE_CONSTRAINT \(extended: SQLITE_CONSTRAINT_PRIMARYKEY\)$"),
        ("INSERT INTO t VALUES ('text', '')", r"^Error: datatype mismatch: SQLITE_MISMATCH$"),
    ],
)  # fmt: skip
def test_errors_have_cloudflares_text(table: StorageBench, text: str, message: str) -> None:
    fails(table, message, text)


def test_update_with_limit_says_what_to_write_instead(table: StorageBench) -> None:
    fails(table, "choose the rows in a subquery.*syntax error", "DELETE FROM t LIMIT 1")
    fails(
        table,
        "choose the rows in a subquery.*syntax error",
        "UPDATE t SET name = '' ORDER BY id LIMIT 1",
    )


def test_the_query_must_be_text(bench: StorageBench) -> None:
    with pytest.raises(JsTypeError, match="SQL text"):
        bench.storage.sql.exec(b"SELECT 1")  # type: ignore[arg-type] # the mistake under test


# Bindings


def test_numbers_are_bound_as_real_and_columns_convert_them(bench: StorageBench) -> None:
    assert bench.sql("SELECT typeof(?) AS t", 1) == [{"t": "real"}]
    bench.sql("CREATE TABLE n (i INTEGER, r REAL, t TEXT, b)")
    bench.sql("INSERT INTO n VALUES (?, ?, ?, ?)", 1, 1, 1, 1)
    types = bench.sql(
        "SELECT typeof(i) AS i, typeof(r) AS r, typeof(t) AS t, typeof(b) AS b FROM n"
    )
    assert types == [{"i": "integer", "r": "real", "t": "text", "b": "real"}]
    assert bench.sql("SELECT 1 AS x LIMIT ?", 1) == [{"x": 1}]


def test_booleans_are_bound_as_text(bench: StorageBench) -> None:
    assert bench.sql("SELECT ? AS a, ? AS b", True, False) == [{"a": "true", "b": "false"}]


@pytest.mark.parametrize("value", [2**53, -(2**53), 2**60, JsBigInt(2**60)])
def test_integers_beyond_doubles_are_refused(bench: StorageBench, value: int) -> None:
    with pytest.raises(JsTypeError) as caught:
        bench.sql("SELECT ?", value)
    assert str(caught.value) == "TypeError: Cannot convert a BigInt value to a number"


@pytest.mark.parametrize("value", [(1,), bytearray(b"x")])
def test_what_can_not_cross_is_refused(bench: StorageBench, value: object) -> None:
    with pytest.raises(TypeError, match="cannot be sent over RPC"):
        bench.sql("SELECT ?", value)


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, 1j, object()])
def test_what_sql_has_no_type_for_is_refused(bench: StorageBench, value: object) -> None:
    with pytest.raises(JsTypeError, match="can't be bound"):
        bench.sql("SELECT ?", value)


def test_lone_surrogates_become_replacement_characters(bench: StorageBench) -> None:
    assert bench.sql("SELECT ? AS a, '\ud800' AS b", "\ud800") == [
        {"a": "\ufffd" * 3, "b": "\ufffd" * 3}
    ]


def test_integers_beyond_doubles_read_as_doubles(bench: StorageBench) -> None:
    assert bench.sql("SELECT 9007199254740993 AS n") == [{"n": 2**53}]


# Schema


def test_a_changed_table_is_seen_by_the_same_text(table: StorageBench) -> None:
    text = "SELECT * FROM t WHERE id = 1"
    table.sql(text)
    table.sql("ALTER TABLE t ADD COLUMN extra")
    assert table.sql(text) == [{"id": 1, "name": "one", "extra": None}]
    table.sql("INSERT INTO t VALUES (4, 'four', 'more')")
    table.sql("ALTER TABLE t RENAME COLUMN extra TO other")
    assert list(table.sql(text)[0]) == ["id", "name", "other"]
    table.sql("ALTER TABLE t DROP COLUMN other; ALTER TABLE t RENAME TO u")
    assert len(table.sql("SELECT * FROM u")) == 4


def test_check_constraints_hold_unless_ignored(bench: StorageBench) -> None:
    bench.sql("CREATE TABLE c (x CHECK (x > 0))")
    fails(bench, r"CHECK constraint failed: x > 0: SQLITE_CONSTRAINT", "INSERT INTO c VALUES (-1)")
    bench.sql("PRAGMA ignore_check_constraints = ON")
    bench.sql("INSERT INTO c VALUES (-1)")
    bench.sql("PRAGMA ignore_check_constraints = OFF")
    assert "CHECK constraint failed" in str(bench.sql("PRAGMA quick_check"))
    fails(bench, "CHECK constraint failed", "ALTER TABLE c ADD COLUMN y CHECK (x > 0)")


def test_database_size_counts_the_pages_of_user_tables(bench: StorageBench) -> None:
    sql = bench.storage.sql
    assert sql.databaseSize == 4096
    bench.sql("CREATE TABLE t (x)")
    assert sql.databaseSize == 8192
    bench.sql("DROP TABLE t")
    assert sql.databaseSize == 4096
    bench.storage.put("k", 1)
    assert sql.databaseSize == 4096


def test_strict_lists_of_tables_can_be_read(table: StorageBench) -> None:
    names = table.sql("SELECT name FROM pragma_table_list WHERE schema = 'main'")
    assert {"name": "t"} in names
    tables = table.storage.sql.exec(
        "SELECT json_group_array(name) AS names FROM sqlite_master"
    ).one()
    assert '"t"' in tables.names


# Foreign keys

FAMILY = """CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent)"""


def test_foreign_keys_are_on(bench: StorageBench) -> None:
    bench.sql(FAMILY)
    orphan = "INSERT INTO child VALUES (1, 9)"
    fails(bench, "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT", orphan)
    with pytest.raises(JsException, match="FOREIGN KEY constraint failed"):
        bench.storage.transactionSync(lambda: bench.sql(orphan))


def test_deferred_foreign_keys_are_checked_by_the_commit(bench: StorageBench) -> None:
    bench.sql(FAMILY)
    bench.end_turn()
    bench.sql("PRAGMA defer_foreign_keys = on")
    bench.storage.get("a host statement between the two")
    bench.sql("INSERT INTO child VALUES (1, 9); INSERT INTO parent VALUES (9)")
    bench.end_turn()
    bench.sql("PRAGMA defer_foreign_keys = on; INSERT INTO child VALUES (2, 8)")
    with pytest.raises(
        JsException,
        match="constraints were violated: FOREIGN KEY constraint failed: SQLITE_CONSTRAINT",
    ) as caught:
        bench.end_turn()
    assert caught.value.durableObjectReset
    bench.reopen()
    assert len(bench.sql("SELECT * FROM child")) == 1
    fails(bench, "FOREIGN KEY", "INSERT INTO child VALUES (2, 8)")


def test_foreign_keys_can_be_turned_off_outside_of_a_transaction(bench: StorageBench) -> None:
    bench.sql(FAMILY)
    bench.end_turn()
    bench.sql("PRAGMA foreign_keys = OFF")
    bench.sql("INSERT INTO child VALUES (1, 9)")
    check = {"table": "child", "rowid": 1, "parent": "parent", "fkid": 0}
    assert bench.sql("PRAGMA foreign_key_check") == [check]
    bench.sql("INSERT INTO parent VALUES (9)")
    assert bench.sql("PRAGMA foreign_key_check") == []


def test_a_setting_made_before_the_first_write_lasts(bench: StorageBench) -> None:
    bench.sql("PRAGMA foreign_keys = OFF")
    bench.sql(FAMILY + "; INSERT INTO child VALUES (1, 9)")
    assert bench.sql("PRAGMA foreign_keys") == [{"foreign_keys": 0}]


# Transactions and files


def test_reading_opens_no_transaction_and_makes_no_file(bench: StorageBench) -> None:
    bench.sql("SELECT 1; SELECT * FROM sqlite_master; PRAGMA table_list; PRAGMA foreign_keys")
    assert not bench.host.confirmed
    assert not bench.database.exists
    bench.sql("SELECT 1; CREATE TABLE t (x); SELECT 2")
    assert bench.database.exists
    assert bench.host.confirmed == [True]


def test_every_write_is_confirmed_also_in_the_middle_of_the_text(table: StorageBench) -> None:
    table.end_turn()
    table.host.confirmed.clear()
    table.sql("SELECT 1; DELETE FROM t; SELECT 2")
    assert table.host.confirmed == [True]
    assert table.database.in_transaction


def test_a_user_statement_equal_to_one_of_the_hosts_is_refused_too(bench: StorageBench) -> None:
    bench.storage.put("k", 1)
    bench.storage.kv.get("k")
    fails(bench, "prohibited", "SELECT value FROM _cf_KV WHERE key = ?", "k")
    fails(bench, "transactionSync", "BEGIN IMMEDIATE")


def test_a_class_without_sql_says_how_to_get_it(
    open_bench: Callable[..., StorageBench],
) -> None:
    sql = open_bench(sql_enabled=False).storage.sql
    for attempt in (lambda: sql.exec("SELECT 1"), lambda: sql.databaseSize):
        with pytest.raises(
            JsException, match=r"^Error: SQL is not enabled for this Durable Object"
        ):
            attempt()
