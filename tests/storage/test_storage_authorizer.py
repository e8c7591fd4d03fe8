"""What user SQL may not do."""

from __future__ import annotations

import pytest
from storage_bench import StorageBench

from dohost.errors import JsException


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE _cf_x (a)",
        "CREATE TABLE _CF_test (a)",
        "CREATE TABLE _Cf_test (a)",
        "CREATE TABLE _cF_test AS SELECT 1",
        "CREATE VIRTUAL TABLE _cf_fts USING fts5(a)",
        "CREATE INDEX _cf_i ON t (x)",
        "CREATE VIEW _cf_v AS SELECT 1",
        "CREATE TRIGGER _cf_g AFTER INSERT ON t BEGIN SELECT 1; END",
        "CREATE TRIGGER g AFTER INSERT ON _cf_KV BEGIN SELECT 1; END",
        "ALTER TABLE t RENAME TO _cf_y",
        'ALTER TABLE t RENAME /* */ TO "_Cf_y"',
        "ALTER TABLE _cf_KV RENAME TO y",
        "ALTER TABLE _cf_KV ADD COLUMN z",
        "DROP TABLE _cf_KV",
        "DELETE FROM _cf_KV",
        "UPDATE _cf_KV SET value = 1",
        "INSERT INTO _cf_KV VALUES ('a', 'b')",
        "PRAGMA table_info(_cf_KV)",
        "PRAGMA quick_check(_cf_KV)",
        "PRAGMA foreign_key_check(_cf_KV)",
        "SELECT * FROM pragma_table_info('_cf_KV')",
        "PRAGMA hard_heap_limit",
        "PRAGMA max_page_count = 10",
        "PRAGMA data_version = 5",
        "PRAGMA page_size = 8192",
        "PRAGMA journal_mode = delete",
        "PRAGMA writable_schema = on",
        "PRAGMA table_info",
        "PRAGMA defer_foreign_keys = abcd",
        "PRAGMA defer_foreign_keys = 'foo'",
        "PRAGMA optimize = words",
        "CREATE TEMP TABLE x (a)",
        "CREATE TEMP VIEW x AS SELECT 1",
        "ATTACH ':memory:' AS other",
        "DETACH main",
        "CREATE VIRTUAL TABLE x USING fts5abcd(a)",
        "CREATE VIRTUAL TABLE x USING dbstat(a)",
        "INSERT INTO sqlite_master VALUES (1, 2, 3, 4, 5)",
    ],
)
def test_these_are_not_authorized(bench: StorageBench, text: str) -> None:
    bench.sql("CREATE TABLE t (x)")
    bench.storage.put("k", 1)
    with pytest.raises(JsException, match=r"not authorized|may not be modified"):
        bench.sql(text)
    assert bench.storage.kv.get("k") == 1


def test_vacuum_is_refused(bench: StorageBench) -> None:
    bench.sql("CREATE TABLE t (x)")
    with pytest.raises(JsException, match="VACUUM"):
        bench.sql("VACUUM")


def test_reading_a_host_table_names_the_column(bench: StorageBench) -> None:
    bench.storage.put("k", 1)
    for text in ("SELECT * FROM _cf_KV", "SELECT count(key) FROM _CF_kv"):
        with pytest.raises(JsException, match=r"access to _cf_KV\.key is prohibited: SQLITE_AUTH"):
            bench.sql(text)


@pytest.mark.parametrize("table", ["dbstat", "sqlite_dbpage"])
def test_tables_of_this_build_alone_are_refused(bench: StorageBench, table: str) -> None:
    with pytest.raises(JsException, match=r"prohibited|no such table"):
        bench.sql(f"SELECT * FROM {table}")


@pytest.mark.parametrize(
    "text",
    ["BEGIN", "BEGIN TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT foo", "RELEASE foo", "END", "ROLLBACK TO foo"],
)  # fmt: skip
def test_transaction_statements_point_to_the_api(bench: StorageBench, text: str) -> None:
    with pytest.raises(
        JsException,
        match=r"use the state\.storage\.transaction\(\) or state\.storage\.transactionSync",
    ):
        bench.sql(text)


@pytest.mark.parametrize(
    "call",
    ["sqlite_version()", "load_extension('x')", "log10(1)", "ceiling(1.5)", "power(2, 3)", "fts3_tokenizer('a')", "median(1)", "soundex('x')"],
)  # fmt: skip
def test_functions_outside_the_list_are_refused(bench: StorageBench, call: str) -> None:
    name = call.split("(")[0]
    with pytest.raises(
        JsException, match=f"not authorized to use function: {name}|no such function: {name}"
    ):
        bench.sql(f"SELECT {call}")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("abs(-123)", 123),
        ("cos(0)", 1),
        ("json('[1]') -> 0", "1"),
        ("'{\"a\":2}' ->> 'a'", 2),
        ("iif(1, 2, 3)", 2),
        ("printf('%d', 3)", "3"),
        ("length(current_date)", 10),
        ("length(current_time)", 8),
        ("length(current_timestamp)", 19),
        ("unhex('41') = x'41'", 1),
        ("'a' LIKE 'A'", 1),
        ("x'41' IS NOT NULL", 1),
        ("(SELECT group_concat(value) FROM json_each('[1,2]'))", "1,2"),
        ("(SELECT max(n) FROM (WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 9) SELECT n FROM r))", 9),
        ("(SELECT sum(n) OVER () FROM (SELECT 4 AS n))", 4),
        ('"a literal"', "a literal"),
    ],
)  # fmt: skip
def test_functions_of_the_list_work(bench: StorageBench, expression: str, value: object) -> None:
    assert bench.sql(f"SELECT {expression} AS x") == [{"x": value}]


@pytest.mark.parametrize(
    "value", ["true", "FALSE", "On", "'off'", '"yes"', " no ", "1", "0", "'1'"]
)
def test_boolean_pragmas_take_booleans_in_any_form(bench: StorageBench, value: str) -> None:
    bench.sql(f"PRAGMA defer_foreign_keys = {value}")
    bench.sql(f"PRAGMA Defer_Foreign_Keys({value})")


def test_pragmas_of_the_list_answer(bench: StorageBench) -> None:
    bench.sql("CREATE TABLE t (foo, bar)")
    for pragma in ("table_info", "table_xinfo"):
        assert [row["name"] for row in bench.sql(f"PRAGMA {pragma}(t)")] == ["foo", "bar"]
    for pragma in ("quick_check", "quick_check(1)", "quick_check(100)", "quick_check(t)"):
        assert bench.sql(f"PRAGMA {pragma}") == [{"quick_check": "ok"}]
    assert bench.sql("PRAGMA page_size") == [{"page_size": 4096}]
    assert isinstance(bench.sql("PRAGMA data_version")[0]["data_version"], int)
    assert {"name": "t"} in bench.sql("SELECT name FROM pragma_table_list")


def test_analyze_and_optimize_are_allowed(bench: StorageBench) -> None:
    bench.sql("CREATE TABLE t (x); CREATE INDEX i ON t (x); INSERT INTO t VALUES (1)")
    bench.storage.put("k", 1)
    assert bench.sql("PRAGMA optimize(-1)") != [None]
    assert bench.sql("PRAGMA optimize") == []
    assert bench.sql("PRAGMA optimize=0x10002") == []
    assert bench.sql("ANALYZE") == []


def test_full_text_search_works_with_triggers(bench: StorageBench) -> None:
    bench.sql(
        """CREATE TABLE doc (id INTEGER PRIMARY KEY, body TEXT);
        CREATE VIRTUAL TABLE f USING FTS5(body, content='doc', content_rowid='id', tokenize='porter');
        CREATE VIRTUAL TABLE words USING fts5vocab(f, 'row');
        CREATE TRIGGER g AFTER INSERT ON doc BEGIN
          INSERT INTO f (rowid, body) VALUES (new.id, new.body); END;
        INSERT INTO doc VALUES (1, 'the quick runner runs'), (2, 'a slow walk')"""
    )
    found = bench.sql(
        "SELECT rowid, highlight(f, 0, '[', ']') AS h, snippet(f, 0, '<', '>', '…', 3) AS s, "
        "bm25(f) < 0 AS good FROM f WHERE f MATCH ? ORDER BY rank",
        "running",
    )
    assert [(row["rowid"], row["good"]) for row in found] == [(1, 1)]
    assert "[run" in str(found[0]["h"])
    assert bench.sql("SELECT count(*) AS n FROM words") != [{"n": 0}]
    bench.end_turn()


def test_rtrees_work(bench: StorageBench) -> None:
    bench.sql("CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)")
    bench.sql("INSERT INTO r VALUES (1, 0, 5), (2, 6, 9)")
    assert bench.sql("SELECT id FROM r WHERE x0 > 5") == [{"id": 2}]
    assert bench.sql("SELECT rtreecheck('r') AS ok") == [{"ok": "ok"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" UNION ALL ".join(["SELECT 1"] * 6), "too many terms in compound SELECT"),
        ("CREATE TABLE w (" + ",".join(f"c{n}" for n in range(101)) + ")", "too many columns"),
        ("SELECT '" + "x" * 100_000 + "'", "statement too long: SQLITE_TOOBIG"),
        ("SELECT 'a' LIKE '" + "a" * 51 + "'", "pattern too complex"),
        ("SELECT ?101", "variable number must be between"),
        ("SELECT zeroblob(8388643)", "TOOBIG"),
    ],
)
def test_sqlites_limits_are_cloudflares(bench: StorageBench, text: str, message: str) -> None:
    with pytest.raises(JsException, match=message):
        bench.sql(text)


def test_at_its_limits_sql_works(bench: StorageBench) -> None:
    assert len(bench.sql(" UNION ALL ".join(["SELECT 1"] * 5))) == 5
    bench.sql("CREATE TABLE w (" + ",".join(f"c{n}" for n in range(100)) + ")")
    assert bench.sql("SELECT '" + "a" * 50 + "' LIKE '" + "a" * 50 + "' AS x") == [{"x": 1}]
    marks = ",".join("?" * 100)
    assert len(bench.sql(f"SELECT {marks}", *range(100))) == 1
