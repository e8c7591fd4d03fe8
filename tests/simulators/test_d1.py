"""D1 databases: statements, batches, messages, and the file that wrangler shares."""

from __future__ import annotations

import math
import re
import sqlite3
from datetime import datetime
from pathlib import Path

import apsw
import pytest

from dohost.errors import JsException
from dohost.simulators.d1 import D1Database
from dohost.simulators.resources import Resources
from dohost.storage import d1


@pytest.fixture
async def db(resources: Resources) -> D1Database:
    db = resources.d1_database("dbid")
    await db.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, b BLOB)")
    return db


async def test_run_tells_what_changed(db: D1Database) -> None:
    done = await db.prepare("INSERT INTO t (name) VALUES (?)").bind("x").run()
    assert done.success is True
    assert done.results == []
    meta = {name: done.meta[name] for name in done.meta if name not in ("duration", "size_after")}
    assert meta == {
        "served_by": "dohost",
        "changes": 1,
        "last_row_id": 1,
        "changed_db": True,
        "rows_read": 0,
        "rows_written": 1,
    }
    assert done.meta.size_after % 4096 == 0
    nothing = await db.prepare("UPDATE t SET name = 'y' WHERE id = 99").run()
    assert (nothing.meta.changes, nothing.meta.changed_db) == (0, False)


async def test_rows_in_each_shape(db: D1Database) -> None:
    await db.exec("INSERT INTO t (name) VALUES ('a'), ('b')")
    all_rows = db.prepare("SELECT id, name FROM t ORDER BY id")
    assert (await all_rows.all()).results == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert (await all_rows.first()).name == "a"
    assert await all_rows.first("name") == "a"
    assert await all_rows.raw() == [[1, "a"], [2, "b"]]
    assert await all_rows.raw(columnNames=True) == [["id", "name"], [1, "a"], [2, "b"]]
    none = db.prepare("SELECT id FROM t WHERE 0")
    assert await none.first() is None
    assert await none.first("nope") is None
    assert await none.raw({"columnNames": True}) == [["id"]]


@pytest.mark.parametrize(
    ("value", "result", "kind"),
    [
        (1, 1, "real"),
        (1.5, 1.5, "real"),
        (True, 1, "real"),
        (None, None, "null"),
        (math.inf, None, "null"),
        (math.nan, None, "null"),
        ("é", "é", "text"),
        (b"\x01\x02", [1, 2], "blob"),
        ([1, 2], [1, 2], "blob"),
    ],
)
async def test_parameters_are_bound_as_d1_does(
    db: D1Database, value: object, result: object, kind: str
) -> None:
    found = await db.prepare("SELECT ? AS v, typeof(?1) AS kind").bind(value).first()
    assert found == {"v": result, "kind": kind}


MESSAGES = [
    ("SELEC 1", 'D1_ERROR: near "SELEC": syntax error at offset 0: SQLITE_ERROR'),
    ("SELECT * FROM nope", "D1_ERROR: no such table: nope: SQLITE_ERROR"),
    ("", "D1_ERROR: No SQL statements detected."),
    ("-- hi", "D1_ERROR: SQL code did not contain a statement."),
    ("SELECT ?, ?", "D1_ERROR: Wrong number of parameter bindings for SQL query."),
    ("BEGIN", "D1_ERROR: To execute a transaction, please use the state.storage.transaction()"),
    ("ATTACH 'x.db' AS x", "D1_ERROR: not authorized: SQLITE_AUTH"),
    ("PRAGMA journal_mode = delete", "D1_ERROR: not authorized: SQLITE_AUTH"),
    ("CREATE TABLE _cf_x (a)", "D1_ERROR: not authorized: SQLITE_AUTH"),
    ("SELECT zeroblob(2200001)", "D1_ERROR: string or blob too big: SQLITE_TOOBIG"),
    (f"SELECT '{'x' * 100_000}'", "D1_ERROR: statement too long: SQLITE_TOOBIG"),
    ("SELECT CAST(x'ff' AS TEXT)", "D1_ERROR: A text in the result is not UTF-8"),
]


@pytest.mark.parametrize(("sql", "message"), MESSAGES)
async def test_errors_have_cloudflares_words(db: D1Database, sql: str, message: str) -> None:
    with pytest.raises(JsException, match=re.escape(message)):
        await db.prepare(sql).bind(1).run() if "?" in sql else await db.prepare(sql).run()


async def test_a_violated_constraint_names_its_code(db: D1Database) -> None:
    await db.exec("INSERT INTO t (id) VALUES (1)")
    with pytest.raises(JsException) as caught:
        await db.prepare("INSERT INTO t (id) VALUES (1)").run()
    assert str(caught.value) == (
        "Error: D1_ERROR: UNIQUE constraint failed: t.id: SQLITE_CONSTRAINT "
        "(extended: SQLITE_CONSTRAINT_PRIMARYKEY)"
    )


async def test_values_that_d1_does_not_take(db: D1Database) -> None:
    statement = db.prepare("SELECT ?")
    for value, text in (
        ({"a": 1}, "[object Object]"),
        ([1, 256], "1,256"),
        (datetime(1970, 1, 1), "Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)"),
    ):
        message = f"D1_TYPE_ERROR: Type 'object' not supported for value '{text}'"
        with pytest.raises(JsException, match=re.escape(message)):
            statement.bind(value)
    with pytest.raises(JsException, match=r"D1_TYPE_ERROR: Type 'bigint' not supported"):
        statement.bind(2**53)
    with pytest.raises(TypeError, match="cannot be sent over RPC"):
        statement.bind((1,))


async def test_what_is_exactly_at_a_limit_passes(db: D1Database) -> None:
    assert await db.prepare("SELECT length(?) AS n").bind("x" * 2_200_000).first("n") == 2_200_000
    assert await db.prepare("SELECT 1 AS n" + " " * 99_987).first("n") == 1


async def test_a_number_beyond_all_bounds_comes_back_as_null(db: D1Database) -> None:
    statement = db.prepare("SELECT 9e999 AS a, -9e999 AS b, 1.5 AS c")
    assert await statement.first() == {"a": None, "b": None, "c": 1.5}
    assert await statement.raw() == [[None, None, 1.5]]


async def test_a_file_that_another_program_holds_is_busy_and_then_works_again(
    resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(d1, "BUSY_TIMEOUT_MS", 10)
    db = resources.d1_database("dbid")
    await db.exec("CREATE TABLE t (id)")
    # By the same library: the locks of another in this process would not be seen.
    other = apsw.Connection(str(next(tmp_path.rglob("*.sqlite"))))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JsException, match="D1_ERROR: database is locked: SQLITE_BUSY"):
        await db.prepare("SELECT 1").run()
    other.execute("ROLLBACK")
    other.close()
    assert await db.prepare("SELECT 1 AS a").first("a") == 1


async def test_a_closed_file_is_whole_without_its_log_and_damage_to_it_is_told(
    resources: Resources, tmp_path: Path
) -> None:
    db = resources.d1_database("dbid")
    await db.exec("CREATE TABLE t (id)")
    await resources.close()
    (path,) = [each for each in tmp_path.rglob("*") if each.is_file()]
    whole = path.read_bytes()
    path.write_bytes(b"no database at all" * 300)
    with pytest.raises(JsException, match="D1_ERROR: file is not a database: SQLITE_NOTADB"):
        await db.prepare("SELECT * FROM t").run()
    path.write_bytes(whole)
    assert (await db.prepare("SELECT * FROM t").run()).results == []


async def test_a_column_that_is_not_there(db: D1Database) -> None:
    with pytest.raises(JsException, match=r"D1_COLUMN_NOTFOUND: Column not found \(nope\)"):
        await db.prepare("SELECT 1 AS a").first("nope")


async def test_a_batch_is_all_or_nothing(db: D1Database) -> None:
    insert = db.prepare("INSERT INTO t (name) VALUES (?)")
    count = db.prepare("SELECT count(*) AS n FROM t")
    first, second = await db.batch([insert.bind("a"), count])
    assert (first.meta.changes, second.results) == (1, [{"n": 1}])
    with pytest.raises(JsException, match="no such table"):
        await db.batch([insert.bind("b"), db.prepare("SELECT * FROM nope")])
    assert await count.first("n") == 1
    with pytest.raises(JsException, match="No SQL statements detected"):
        await db.batch([])


async def test_exec_counts_lines_and_names_the_failing_text(db: D1Database) -> None:
    done = await db.exec("INSERT INTO t (name) VALUES ('a');\n\nINSERT INTO t (name) VALUES ('b')")
    assert done["count"] == 2
    with pytest.raises(JsException) as caught:
        await db.exec("SELECT 1;\nSELEC 1")
    assert caught.value.message == (
        'D1_EXEC_ERROR: Error in line 1: SELECT 1;: near "SELEC": syntax error at offset 0: '
        "SQLITE_ERROR"
    )


async def test_of_several_statements_the_last_one_answers(db: D1Database) -> None:
    assert (await db.prepare("SELECT 1 AS a; SELECT 2 AS b").all()).results == [{"b": 2}]


async def test_columns_follow_a_changed_schema(db: D1Database) -> None:
    everything = db.prepare("SELECT * FROM t")
    await everything.raw()
    await db.exec("ALTER TABLE t ADD COLUMN more TEXT")
    assert (await everything.raw(columnNames=True))[0] == ["id", "name", "b", "more"]


async def test_a_session_has_a_bookmark_after_its_first_query(db: D1Database) -> None:
    session = db.withSession("first-primary")
    assert session.getBookmark() is None
    await session.prepare("SELECT 1").run()
    first = session.getBookmark()
    assert len(first) == 59
    await session.batch([session.prepare("SELECT 1")])
    assert session.getBookmark() > first
    assert db.withSession(first).getBookmark() == first


async def test_the_file_is_wranglers_and_opens_in_other_programs(
    db: D1Database, tmp_path: Path
) -> None:
    await db.exec("INSERT INTO t (name) VALUES ('a')")
    name = "ecbc736354685028b2eecd579d47b39b4527eb327dff3aeac77543069184ed6d.sqlite"
    path = tmp_path / "v3/d1/miniflare-D1DatabaseObject" / name
    assert path.stat().st_mode & 0o777 == 0o600
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT name FROM t").fetchall() == [("a",)]
    reader.close()
