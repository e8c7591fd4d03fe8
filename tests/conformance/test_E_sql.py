"""Rows E1 to E10, E18, E23, E24, E26, E33 to E37: statements, parameters, cursors and limits."""

from __future__ import annotations

import pytest
from storage_rows import inside, query

from dohost.errors import JsException, JsTypeError
from dohost.objects.state import DurableObjectState
from dohost.storage.storage import DurableObjectStorage
from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(main="programs/store.py", evict_after_s=None)
WRONG_BINDINGS = "Error: Wrong number of parameter bindings for SQL query."
NO_STATEMENT = "Error: SQL code did not contain a statement."


async def refused(dohost: IsolatedHost, text: str, *bindings: object) -> str:
    """Return the error of an SQL text that is refused."""
    with pytest.raises(JsException) as caught:
        await query(dohost, text, *bindings)
    return str(caught.value)


async def test_E1_rows_and_raw_rows(dohost: IsolatedHost) -> None:
    assert await query(dohost, "SELECT 123") == [{"123": 123}]
    assert await query(dohost, "SELECT 'hello'") == [{"'hello'": "hello"}]
    raw = await inside(dohost, lambda storage: storage.sql.exec("SELECT 123").raw().toArray())
    assert raw == [[123]]


async def test_E2_blobs(dohost: IsolatedHost) -> None:
    (row,) = await query(dohost, "SELECT x'ff' AS blob")
    assert bytes(row["blob"]) == b"\xff"
    (row,) = await query(
        dohost, "SELECT ? AS a, zeroblob(10) AS b, null AS c, ? AS d", bytes(12), None
    )
    assert [each if each is None else len(each) for each in row.values()] == [12, 10, None, None]


async def test_E3_parameters(dohost: IsolatedHost) -> None:
    assert await query(dohost, "SELECT ? + ?", 123, 456) == [{"? + ?": 579}]


async def test_E4_next_and_to_array(dohost: IsolatedHost) -> None:
    def body(storage: DurableObjectStorage) -> None:
        text = "SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3"
        cursor = storage.sql.exec(text)
        steps = [cursor.next() for _ in range(4)]
        assert [step.done for step in steps] == [False, False, False, True]
        assert [step["value"]["n"] for step in steps[:3]] == [1, 2, 3]
        rows = storage.sql.exec(text).toArray()
        assert type(rows) is list
        assert rows == [{"n": 1}, {"n": 2}, {"n": 3}]

    await inside(dohost, body)


async def test_E5_one(dohost: IsolatedHost) -> None:
    def body(storage: DurableObjectStorage) -> None:
        cursor = storage.sql.exec("SELECT 1 AS n")
        assert cursor.one() == {"n": 1}
        assert list(cursor) == []
        for text, ending in (
            ("SELECT 1 UNION SELECT 2", "got multiple results."),
            ("SELECT 1 WHERE 0", "got no results."),
        ):
            with pytest.raises(JsException) as caught:
                storage.sql.exec(text).one()
            expected = "Expected exactly one result from SQL query, but "
            assert caught.value.message == expected + ending

    await inside(dohost, body)


@pytest.mark.parametrize("text", ["", ";", "SELECT 1; -- done", "-- nothing", "SELECT 1; ;"])
async def test_E6_a_text_must_end_with_a_statement(dohost: IsolatedHost, text: str) -> None:
    assert await refused(dohost, text) == NO_STATEMENT


async def test_E6_white_space_may_follow(dohost: IsolatedHost) -> None:
    assert await query(dohost, "SELECT 1; \t\n\r\v\f") == [{"1": 1}]


async def test_E7_errors_tell_the_position(dohost: IsolatedHost) -> None:
    assert "syntax error at offset 7" in await refused(dohost, "SELECT ;")
    assert "syntax error at offset 8" in await refused(dohost, "SELECT -;")


async def test_E8_a_text_is_no_rowid(dohost: IsolatedHost) -> None:
    await query(dohost, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    error = await refused(dohost, "INSERT INTO t VALUES ('x')")
    assert error == "Error: datatype mismatch: SQLITE_MISMATCH"


@pytest.mark.parametrize(
    ("text", "bindings"), [("SELECT ?", ()), ("SELECT ?, ?", (1,)), ("SELECT 1", (1,))]
)
async def test_E9_the_number_of_parameters_is_exact(
    dohost: IsolatedHost, text: str, bindings: tuple[object, ...]
) -> None:
    assert await refused(dohost, text, *bindings) == WRONG_BINDINGS


async def test_E10_several_statements(dohost: IsolatedHost) -> None:
    rows = await query(
        dohost,
        "CREATE TABLE t (a); CREATE INDEX i ON t(a); INSERT INTO t VALUES (1); "
        "INSERT INTO t VALUES (2); SELECT a FROM t WHERE a > ?",
        1,
    )
    assert rows == [{"a": 2}]
    assert await query(dohost, "SELECT 1; SELECT 2; ") == [{"2": 2}]
    assert await refused(dohost, "SELECT ?; SELECT 1", 1) == (
        "Error: When executing multiple SQL statements in a single call, only the last statement "
        "can have parameters."
    )


async def test_E18_five_terms_of_a_compound(dohost: IsolatedHost) -> None:
    assert len(await query(dohost, " UNION ALL ".join(["SELECT 1"] * 5))) == 5
    error = await refused(dohost, " UNION ALL ".join(["SELECT 1"] * 6))
    assert "too many terms in compound SELECT" in error


async def test_E23_names_that_occur_twice(dohost: IsolatedHost) -> None:
    def body(storage: DurableObjectStorage) -> None:
        sql = storage.sql
        sql.exec("CREATE TABLE a (id, x, both); CREATE TABLE b (id, y, z)")
        sql.exec("INSERT INTO a VALUES (1, 2, 3)")
        sql.exec("INSERT INTO b VALUES (4, 5, 6)")
        cursor = sql.exec("SELECT * FROM a, b")
        assert cursor.columnNames == ["id", "x", "both", "id", "y", "z"]
        assert cursor.one() == {"id": 4, "x": 2, "both": 3, "y": 5, "z": 6}
        assert len(cursor.columnNames) == 6
        assert sql.exec("SELECT * FROM a, b").raw().toArray() == [[1, 2, 3, 4, 5, 6]]
        assert sql.exec("UPDATE a SET x = 1").columnNames == []

    await inside(dohost, body)


async def test_E24_the_same_text_twice_at_once(dohost: IsolatedHost) -> None:
    def body(storage: DurableObjectStorage) -> None:
        text = "SELECT 1 AS n UNION ALL SELECT 2"
        first, second = storage.sql.exec(text), storage.sql.exec(text)
        taken = [next(each)["n"] for each in (first, second, first, second)]
        assert taken == [1, 1, 2, 2]
        storage.sql.exec(text).toArray()
        assert list(first) == []

    await inside(dohost, body)


async def test_E25_counts(dohost: IsolatedHost) -> None:
    """Approximate by decision: rows stepped and rows changed."""

    def body(storage: DurableObjectStorage) -> None:
        sql = storage.sql
        sql.exec("CREATE TABLE t (n)")
        assert sql.exec("INSERT INTO t VALUES (1)").rowsWritten == 1
        sql.exec("INSERT INTO t VALUES (2)")
        cursor = sql.exec("SELECT n FROM t")
        seen = [(next(cursor)["n"], cursor.rowsRead) for _ in range(2)]
        assert seen == [(1, 2), (2, 2)]
        assert sql.exec("SELECT n FROM t WHERE n IN (1, 2)").rowsWritten == 0

    await inside(dohost, body)


async def test_E26_a_changed_table_is_seen_at_once(dohost: IsolatedHost) -> None:
    await query(dohost, "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    text = "SELECT * FROM t"
    assert await query(dohost, text) == [{"a": 1}]
    await query(dohost, "ALTER TABLE t ADD COLUMN b")
    assert await query(dohost, text) == [{"a": 1, "b": None}]
    await query(dohost, "INSERT INTO t VALUES (2, 3)")
    assert len(await query(dohost, text)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT " + ", ".join(f"?{n}" for n in range(1, 102)), "variable number must be between"),
        ("CREATE TABLE w (" + ", ".join(f"c{n}" for n in range(101)) + ")", "too many columns on"),
        ("SELECT '" + "x" * 100_000 + "'", "statement too long: SQLITE_TOOBIG"),
        ("SELECT 1 LIKE '" + "x" * 51 + "'", "LIKE or GLOB pattern too complex"),
        ("SELECT zeroblob(8388643)", "string or blob too big: SQLITE_TOOBIG"),
    ],
)
async def test_E33_limits(dohost: IsolatedHost, text: str, message: str) -> None:
    assert message in await refused(dohost, text)


async def test_E33_up_to_the_limits(dohost: IsolatedHost) -> None:
    marks = ", ".join("?" * 100)
    assert len((await query(dohost, f"SELECT {marks}", *range(100)))[0]) == 1
    assert await query(dohost, "SELECT 1 LIKE '" + "x" * 50 + "' AS n") == [{"n": 0}]
    assert await query(dohost, "SELECT length(zeroblob(8388642)) AS n") == [{"n": 8388642}]


async def test_E34_a_boolean_is_bound_as_its_text(dohost: IsolatedHost) -> None:
    assert await query(dohost, "SELECT ? AS a, typeof(?) AS b", True, False) == [
        {"a": "true", "b": "text"}
    ]


@pytest.mark.dohost(main="programs/store.py", strict=True)
async def test_E34_strict_mode_warns_of_a_boolean_where_it_is_bound(dohost: IsolatedHost) -> None:
    def bind(instance: object, state: DurableObjectState) -> list[object]:
        return state.storage.sql.exec("SELECT ? AS a", True).toArray()

    stub = dohost.env.STORE.getByName("a")
    with pytest.warns(UserWarning, match="bound as the text 'true'") as caught:
        assert await dohost.run_in_object(stub, bind) == [{"a": "true"}]
    assert caught[0].filename == __file__


async def test_E35_numbers_are_doubles(dohost: IsolatedHost) -> None:
    assert await query(dohost, "SELECT typeof(?) AS t", 1) == [{"t": "real"}]
    (row,) = await query(dohost, "SELECT 9007199254740993 AS n")
    assert row == {"n": 2.0**53}
    with pytest.raises(JsTypeError, match="Cannot convert a BigInt value to a number"):
        await query(dohost, "SELECT ?", 2**53 + 1)


async def test_E36_an_open_cursor_locks_its_table(dohost: IsolatedHost) -> None:
    def body(storage: DurableObjectStorage) -> None:
        sql = storage.sql
        sql.exec("CREATE TABLE t (foo, bar)")
        assert sql.exec("INSERT INTO t VALUES (1, 2), (3, 4)").rowsWritten >= 1
        cursor = sql.exec("SELECT * FROM t")
        assert cursor.columnNames == ["foo", "bar"]
        with pytest.raises(JsException, match="database table is locked: SQLITE_LOCKED"):
            sql.exec("DROP TABLE t")
        assert len(cursor.toArray()) == 2
        sql.exec("DROP TABLE t")

    await inside(dohost, body)


async def test_E37_rows_are_dicts(dohost: IsolatedHost) -> None:
    def body(storage: DurableObjectStorage) -> None:
        text = "SELECT 1 AS id, 'x' AS val UNION ALL SELECT 2, 'y'"
        assert [(row["id"], row["val"]) for row in storage.sql.exec(text)] == [(1, "x"), (2, "y")]
        rows = storage.sql.exec(text).toArray()
        assert len(rows) == 2
        assert rows[0]["id"] == rows[0].id == 1

    await inside(dohost, body)
