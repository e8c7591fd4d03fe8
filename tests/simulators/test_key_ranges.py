"""Listings read one range of an index, and it is the right one."""

from __future__ import annotations

import sqlite3

from hypothesis import example, given
from hypothesis import strategies as st

from dohost.simulators.key_ranges import IN_RANGE, range_behind

QUERY = f"SELECT key FROM t WHERE {IN_RANGE} ORDER BY key"
texts = st.text(st.sampled_from("\0ab\x7f\xffé中\uffff\U0010ffff"), max_size=3)


@given(keys=st.sets(texts), prefix=texts, after=st.none() | texts)
@example(keys={"a", "a\0", "a\0\0", "b"}, prefix="a", after="a")
@example(keys={"", "\0"}, prefix="", after="")
def test_the_range_holds_the_keys_with_the_prefix_behind_the_key(
    keys: set[str], prefix: str, after: str | None
) -> None:
    table = sqlite3.connect(":memory:")
    table.execute("CREATE TABLE t (key TEXT PRIMARY KEY) STRICT")
    table.executemany("INSERT INTO t VALUES (?)", [(key,) for key in keys])
    found = [row[0] for row in table.execute(QUERY, range_behind(prefix, after))]
    table.close()
    assert found == [
        key
        for key in sorted(keys, key=str.encode)
        if key.startswith(prefix) and (after is None or key.encode() > after.encode())
    ]


def test_no_key_outside_the_range_is_read() -> None:
    table = sqlite3.connect(":memory:")
    table.execute("CREATE TABLE t (key TEXT PRIMARY KEY) STRICT")
    plan = table.execute(f"EXPLAIN QUERY PLAN {QUERY}", range_behind("a", "ab")).fetchall()
    table.close()
    assert [row[3] for row in plan] == [
        "SEARCH t USING COVERING INDEX sqlite_autoindex_t_1 (key>? AND key<?)"
    ]
