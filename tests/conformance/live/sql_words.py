"""The words of the random SQL: what a program may write, and what Cloudflare refuses."""

from __future__ import annotations

from tests.conformance.live.neutral import Encoded

TABLES = ("t0", "t1", "T2")
COLUMNS = ("a", "b", "c", "d")
TYPES = ("", "INTEGER", "TEXT", "REAL", "BLOB", "NUMERIC", "INT", "VARCHAR(9)", "ANY")
CONSTRAINTS = (
    *("NOT NULL", "UNIQUE", "DEFAULT 7", "DEFAULT (1 + 1)", "CHECK (a < 100)", "COLLATE NOCASE"),
    *("REFERENCES t0(a)", "REFERENCES t1(a) DEFERRABLE INITIALLY DEFERRED", "AS (a + 1) STORED"),
)
LITERALS = (
    *("0", "1", "-1", "2", "7", "1.5", "-0.0", "1e300", "9e999", "9007199254740993", "0x10"),
    *("'x'", "'a b'", "'é'", "''", "'5'", "'1.0'", '"quoted"', "x''", "x'00ff'", "NULL", "TRUE"),
)
BINDINGS: tuple[Encoded, ...] = (
    *(0, 1, -1, 5, 2**31, 2**53 - 1, None, True, False, "", "text", "5", "é", "a\x00b"),
    *({"$float": text} for text in ("1.5", "1e300", "NaN", "Infinity", "-0", "1e16", "0.1")),
    *({"$bytes": text} for text in ("", "00ff", "74657874")),
)
ODD_BINDINGS: tuple[Encoded, ...] = ({"$bigint": "5"}, {"$bigint": "9007199254740993"})
FUNCTIONS = (
    *("abs({0})", "coalesce({0}, {1})", "hex({0})", "ifnull({0}, {1})", "iif({0}, {1}, 2)"),
    *(
        "instr({0}, {1})",
        "length({0})",
        "lower({0})",
        "ltrim({0})",
        "max({0}, {1})",
        "nullif({0}, {1})",
    ),
    *("quote({0})", "replace({0}, 'x', {1})", "round({0})", "round(1.256, 2)", "sign({0})"),
    *("soundex({0})", "substr({0}, 2)", "trim({0})", "typeof({0})", "unicode({0})", "upper({0})"),
    *(
        "zeroblob(3)",
        "char(65, 233)",
        "concat({0}, {1})",
        "concat_ws('-', {0}, {1})",
        "unhex('41')",
    ),
    *("format('%d %s %.2f', {0}, {1}, 2.5)", "printf('%05d|%-5s|', 42, {0})", "octet_length({0})"),
    *(
        "json({0})",
        "json_array({0}, {1})",
        "json_object('k', {0})",
        "json_extract('{{\"a\":[1,2]}}', '$.a')",
    ),
    *(
        "json_type('[1]')",
        "json_valid({0})",
        "json_quote({0})",
        "'{{\"a\":5}}' ->> 'a'",
        "'[1,2]' -> 1",
    ),
    *(
        "date('2024-02-29', '+1 year')",
        "time(3600, 'unixepoch')",
        "strftime('%Y-%W', 0, 'unixepoch')",
    ),
    *("julianday('2000-01-01')", "unixepoch('2020-01-01')", "timediff('2020-01-02', '2020-01-01')"),
    *(
        "datetime({0}, 'unixepoch')",
        "typeof(random())",
        "length(randomblob(4))",
        "length(current_date)",
    ),
    *(
        "sin({0})",
        "sqrt({0})",
        "pow(2, {0})",
        "pi()",
        "floor({0})",
        "ceil({0})",
        "ln({0})",
        "log(2, 8)",
    ),
    *(
        "atan2(1, {0})",
        "mod(7, 3)",
        "trunc(1.9)",
        "degrees(1)",
        "exp(1)",
        "likely({0})",
        "changes()",
    ),
    *(
        "last_insert_rowid()",
        "glob('x*', quote({0}))",
        "like('x%', quote({0}))",
        "CAST({0} AS TEXT)",
        "CAST({0} AS INTEGER)",
    ),
    *(
        "CAST({0} AS REAL)",
        "CAST({0} AS BLOB)",
        "-{0}",
        "~{0}",
        "NOT {0}",
        "{0} || {1}",
        "{0} + {1}",
    ),
    *(
        "{0} / {1}",
        "{0} % {1}",
        "{0} < {1}",
        "{0} = {1}",
        "{0} IS {1}",
        "quote({0}) LIKE quote({1})",
        "{0} BETWEEN 0 AND {1}",
    ),
    *("{0} IN (1, {1})", "{0} AND {1}", "{0} << 2", "CASE WHEN {0} THEN {1} END", "(SELECT {0})"),
)
AGGREGATES = (
    *("count(*)", "count({0})", "sum({0})", "total({0})", "avg({0})", "min({0})", "max({0})"),
    *("group_concat({0})", "string_agg({0}, '-')", "json_group_array({0})", "count(DISTINCT {0})"),
    *("row_number() OVER (ORDER BY {0})", "sum({0}) OVER ()", "lag({0}) OVER (ORDER BY {0})"),
)
DENIED = (
    *(
        "sqlite_version()",
        "power(2, 3)",
        "log10(1)",
        "ceiling(1)",
        "load_x()",
        "likelihood({0}, 2)",
    ),
    # A build is known by its id, so that is only measured.
    *("length(sqlite_source_id())", "median({0})", "nope({0})", "abs()"),
    "sqlite_compileoption_used('x')",
    *(
        "fts5('x')",
        "total_changes({0})",
        "json_each({0})",
        "zeroblob(9000000)",
        "abs(-9223372036854775808)",
    ),
)
PRAGMAS = (
    *(
        "data_version",
        "page_size",
        "table_info(t0)",
        "table_xinfo('t1')",
        "index_list(t0)",
        "table_info",
    ),
    *(
        "foreign_key_list(t1)",
        "foreign_key_check",
        "foreign_key_check(t1)",
        "quick_check",
        "quick_check(1)",
    ),
    *(
        "quick_check(t0)",
        "optimize",
        "optimize(-1)",
        "defer_foreign_keys",
        "defer_foreign_keys = off",
    ),
    *(
        "foreign_keys",
        "case_sensitive_like = on",
        "case_sensitive_like = off",
        "recursive_triggers",
    ),
    *("recursive_triggers = 'yes'", "recursive_triggers(0)", "ignore_check_constraints = 1"),
    *(
        "ignore_check_constraints = 0",
        "legacy_alter_table",
        "reverse_unordered_selects",
        "main.page_size",
    ),
    *(
        "user_version",
        "journal_mode",
        "page_count",
        "page_size = 8192",
        "max_page_count = 5",
        "nope",
    ),
    *(
        "data_version = 5",
        "foreign_keys = maybe",
        "table_info(_cf_KV)",
        "schema_version",
        "cache_size",
    ),
    *("integrity_check", "wal_checkpoint", "foreign_keys = 2", "index_info(i0)", "index_xinfo(i0)"),
)
NO_STATEMENTS = (
    *(
        "",
        ";",
        "  ",
        "-- x",
        "/* x */",
        "SELECT 1; -- x",
        "SELECT 1; ;",
        "SELECT 1 -- x",
        ";SELECT 1",
    ),
    *(
        "SELEC",
        "SELECT",
        "SELECT ;",
        "SELECT -;",
        "SELECT 1 FROM",
        "INSERT",
        "SELECT 'x",
        "SELECT [x",
        "@",
    ),
    *(
        "SELECT 1;\n\t \v\f",
        "SELECT 1; SELECT 2; ",
        "SELECT 1; /* x */ SELECT 2",
        "SELECT 1,",
        "(SELECT 1)",
    ),
    *(
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "RELEASE s",
        "END",
        "BEGIN IMMEDIATE",
        "ROLLBACK TO s",
    ),
    *(
        "VACUUM",
        "ATTACH ':memory:' AS x",
        "DETACH x",
        "CREATE TEMP TABLE x (a)",
        "ANALYZE",
        "REINDEX",
    ),
    *("SELECT * FROM _cf_KV", "DROP TABLE _cf_KV", "CREATE TABLE _CF_x (a)", "DELETE FROM _cf_KV"),
    *(
        "CREATE INDEX _cf_i ON t0(a)",
        "ALTER TABLE t0 RENAME TO _cf_t",
        "CREATE VIEW _cf_v AS SELECT 1",
    ),
    *("CREATE VIRTUAL TABLE v USING fts4(x)", "CREATE VIRTUAL TABLE _cf_f USING fts5(x)"),
    *("CREATE VIRTUAL TABLE v USING csv(x)", "SELECT * FROM temp.x", "SELECT * FROM other.x"),
    *(
        "INSERT INTO sqlite_master VALUES (1, 2, 3, 4, 5)",
        "DROP TABLE sqlite_master",
        "SELECT 1 2 3",
    ),
)

WAYS = ("array", "array", "array", "raw", "raw", "one", "next", "counts")
READS = ("next", "next", "raw_next", "one", "raw", "names", "array")
