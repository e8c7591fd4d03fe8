"""Rows E11 to E17, E19 to E22, E27 to E30, E32: what SQL may do, and constraints."""

from __future__ import annotations

import pytest
from storage_rows import inside, query, store

from dohost.errors import JsException
from dohost.storage.storage import DurableObjectStorage
from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(main="programs/store.py", evict_after_s=None)


async def refused(dohost: IsolatedHost, text: str) -> str:
    """Return the error of an SQL text that is refused."""
    with pytest.raises(JsException) as caught:
        await query(dohost, text)
    return str(caught.value)


async def foo_bar(dohost: IsolatedHost) -> None:
    await query(dohost, "CREATE TABLE t (foo INTEGER PRIMARY KEY, bar TEXT)")


@pytest.mark.parametrize(
    "text",
    [
        *[f"CREATE TABLE {name} (a)" for name in ("_cf_x", "_CF_test", "_Cf_test", "_cF_test")],
        "CREATE VIRTUAL TABLE _cf_fts USING fts5 (x)",
        "ALTER TABLE t RENAME TO _cf_y",
    ],
)
async def test_E11_names_of_the_host_are_refused(dohost: IsolatedHost, text: str) -> None:
    await foo_bar(dohost)
    assert "not authorized" in await refused(dohost, text)


async def test_E12_tables_of_the_host_can_not_be_read(dohost: IsolatedHost) -> None:
    await inside(dohost, lambda storage: storage.put("k", 1))
    error = await refused(dohost, "SELECT * FROM _cf_KV")
    assert "access to _cf_KV.key is prohibited" in error
    for text in ("PRAGMA table_info(_cf_KV)", "PRAGMA quick_check(_cf_KV)"):
        assert "not authorized" in await refused(dohost, text)


@pytest.mark.parametrize(
    "setting", ["hard_heap_limit", "max_page_count = 5", "data_version = 5", "page_size = 8192"]
)
async def test_E13_pragmas_outside_the_list_are_refused(dohost: IsolatedHost, setting: str) -> None:
    assert "not authorized" in await refused(dohost, f"PRAGMA {setting}")


async def test_E13_two_pragmas_can_be_read(dohost: IsolatedHost) -> None:
    (row,) = await query(dohost, "PRAGMA data_version")
    assert type(row["data_version"]) is int
    assert await query(dohost, "PRAGMA page_size") == [{"page_size": 4096}]


async def test_E14_pragmas_about_tables(dohost: IsolatedHost) -> None:
    await foo_bar(dohost)
    for name in ("table_info", "table_xinfo"):
        rows = await query(dohost, f"PRAGMA {name}(t)")
        assert [row["name"] for row in rows] == ["foo", "bar"]
    for argument in ("", "(1)", "(100)", "(t)"):
        assert await query(dohost, f"PRAGMA quick_check{argument}") == [{"quick_check": "ok"}]
    assert "t" in [row["name"] for row in await query(dohost, "PRAGMA table_list")]


async def test_E15_optimize(dohost: IsolatedHost) -> None:
    await foo_bar(dohost)
    await query(dohost, "CREATE INDEX i ON t (bar); INSERT INTO t VALUES (1, 'x')")
    rows = await query(dohost, "PRAGMA optimize(-1)")
    assert 'ANALYZE "main"."t"' in [row["optimize"] for row in rows]
    for text in ("PRAGMA optimize", "PRAGMA optimize=0x10002", "ANALYZE"):
        assert await query(dohost, text) == []


@pytest.mark.parametrize(
    "value", ["true", "FALSE", "on", "Off", "yes", "no", "1", "0", "'on'", "' no '"]
)
async def test_E16_booleans_of_a_pragma(dohost: IsolatedHost, value: str) -> None:
    assert await query(dohost, f"PRAGMA defer_foreign_keys = {value}") == []


@pytest.mark.parametrize("value", ["abcd", "'foo'", "2"])
async def test_E16_other_values_are_refused(dohost: IsolatedHost, value: str) -> None:
    assert "not authorized" in await refused(dohost, f"PRAGMA defer_foreign_keys = {value}")


async def test_E17_functions(dohost: IsolatedHost) -> None:
    row = (
        await query(
            dohost,
            "SELECT abs(-123) AS a, cos(0) AS b, '{\"x\":2}' -> 'x' AS c, "
            "length(current_date) AS d, length(current_time) AS e, length(current_timestamp) AS f",
        )
    )[0]
    assert row == {"a": 123, "b": 1, "c": "2", "d": 10, "e": 8, "f": 19}
    error = await refused(dohost, "SELECT sqlite_version()")
    assert "not authorized to use function: sqlite_version" in error


@pytest.mark.parametrize("text", ["BEGIN TRANSACTION", "SAVEPOINT foo", "COMMIT"])
async def test_E19_transactions_are_not_sqls_business(dohost: IsolatedHost, text: str) -> None:
    error = await refused(dohost, text)
    assert "state.storage.transaction() or state.storage.transactionSync() APIs" in error


async def test_E20_full_text_search(dohost: IsolatedHost) -> None:
    await query(dohost, "CREATE TABLE notes (id INTEGER PRIMARY KEY, text)")
    await query(dohost, "CREATE VIRTUAL TABLE f USING FTS5 (text, tokenize = 'porter')")
    await query(dohost, "CREATE VIRTUAL TABLE v USING fts5vocab (f, row)")
    await query(
        dohost,
        "CREATE TRIGGER g AFTER INSERT ON notes BEGIN "
        "INSERT INTO f (rowid, text) VALUES (new.id, new.text); END",
    )
    for text in ("a running dog", "the dogs run and run", "nothing"):
        await query(dohost, "INSERT INTO notes (text) VALUES (?)", text)
    rows = await query(
        dohost,
        "SELECT rowid, highlight(f, 0, '<', '>') AS shown, snippet(f, 0, '[', ']', '…', 1) AS part, "
        "bm25(f) < 0 AS ranked FROM f WHERE f MATCH 'run' ORDER BY rank",
    )
    assert [row["rowid"] for row in rows] == [2, 1]
    assert rows[0]["shown"] == "the dogs <run> and <run>"
    assert rows[1]["part"] == "…[running]…"
    assert [row["ranked"] for row in rows] == [1, 1]
    error = await refused(dohost, "CREATE VIRTUAL TABLE x USING fts5abcd (y)")
    assert "not authorized" in error


@pytest.mark.parametrize("text", ["CREATE TEMP TABLE x (a)", "ATTACH ':memory:' AS x"])
async def test_E21_no_other_schemas(dohost: IsolatedHost, text: str) -> None:
    assert "not authorized" in await refused(dohost, text)


async def test_E22_database_size(dohost: IsolatedHost) -> None:
    def size(storage: DurableObjectStorage) -> int:
        return storage.sql.databaseSize

    assert await inside(dohost, size) == 4096
    await query(dohost, "CREATE TABLE t (a)")
    assert await inside(dohost, size) == 8192
    await query(dohost, "DROP TABLE t")
    assert await inside(dohost, size) == 4096


async def test_E27_altering_and_checks(dohost: IsolatedHost) -> None:
    await query(dohost, "CREATE TABLE t (a CHECK (a > 0), b)")
    await query(dohost, "ALTER TABLE t RENAME TO u; ALTER TABLE u ADD COLUMN c")
    await query(dohost, "ALTER TABLE u RENAME COLUMN b TO d; ALTER TABLE u DROP COLUMN c")
    assert "CHECK constraint failed" in await refused(dohost, "INSERT INTO u VALUES (-1, 1)")
    await query(dohost, "PRAGMA ignore_check_constraints = ON")
    await query(dohost, "INSERT INTO u VALUES (-1, 1)")
    await query(dohost, "PRAGMA ignore_check_constraints = OFF")
    error = await refused(dohost, "ALTER TABLE u ADD COLUMN e CHECK (a > 0)")
    assert "CHECK constraint failed" in error
    assert await query(dohost, "PRAGMA quick_check(u)") == [
        {"quick_check": "CHECK constraint failed in u"}
    ]


async def families(dohost: IsolatedHost) -> None:
    await query(
        dohost,
        "CREATE TABLE parent (id INTEGER PRIMARY KEY); "
        "CREATE TABLE child (id INTEGER PRIMARY KEY, up REFERENCES parent (id))",
    )


async def test_E28_foreign_keys_are_on(dohost: IsolatedHost) -> None:
    await families(dohost)
    orphan = "INSERT INTO child VALUES (1, 1)"
    assert "FOREIGN KEY constraint failed" in await refused(dohost, orphan)

    def body(storage: DurableObjectStorage) -> None:
        with pytest.raises(JsException, match="FOREIGN KEY constraint failed"):
            storage.transactionSync(lambda: storage.sql.exec(orphan))
        storage.sql.exec("PRAGMA defer_foreign_keys = on")
        storage.sql.exec(orphan)
        storage.sql.exec("INSERT INTO parent VALUES (1)")

    await inside(dohost, body)
    assert await query(dohost, "SELECT * FROM child") == [{"id": 1, "up": 1}]


async def test_E29_a_violation_that_is_left_resets_the_object(dohost: IsolatedHost) -> None:
    await families(dohost)
    old = store(dohost)
    await old.read()

    def body(storage: DurableObjectStorage) -> None:
        storage.sql.exec("PRAGMA defer_foreign_keys = on")
        storage.sql.exec("INSERT INTO child VALUES (1, 1)")

    message = "constraints were violated: FOREIGN KEY constraint failed: SQLITE_CONSTRAINT"
    with pytest.raises(JsException, match=message):
        await inside(dohost, body)
    with pytest.raises(JsException, match=message):
        await old.read()
    assert await store(dohost).read() == 0
    assert await query(dohost, "SELECT * FROM child") == []


async def test_E30_foreign_keys_can_be_turned_off(dohost: IsolatedHost) -> None:
    await families(dohost)
    await query(dohost, "PRAGMA foreign_keys = OFF")
    await query(dohost, "INSERT INTO child VALUES (1, 1)")
    assert await query(dohost, "PRAGMA foreign_key_check") == [
        {"table": "child", "rowid": 1, "parent": "parent", "fkid": 0}
    ]
    await query(dohost, "INSERT INTO parent VALUES (1)")
    assert await query(dohost, "PRAGMA foreign_key_check") == []


async def test_E32_tables_can_be_listed(dohost: IsolatedHost) -> None:
    await foo_bar(dohost)
    rows = await query(
        dohost, "SELECT name FROM pragma_table_list WHERE schema = 'main' AND name = 't'"
    )
    assert rows == [{"name": "t"}]
    text = "SELECT json_group_array(name) AS names FROM sqlite_master WHERE name = 't'"
    assert await query(dohost, text) == [{"names": '["t"]'}]
