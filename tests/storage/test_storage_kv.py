"""Key-value storage as user code calls it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import apsw
import pytest
from storage_bench import StorageBench
from workers.values import JsDict

from dohost.errors import DataCloneError, JsException, JsRangeError, JsTypeError


async def fill(bench: StorageBench, *keys: str) -> None:
    await bench.storage.put({key: key.upper() for key in keys})


async def test_what_was_put_is_got_and_a_missing_key_is_none(bench: StorageBench) -> None:
    await bench.storage.put("k", "v")
    assert await bench.storage.get("k") == "v"
    assert await bench.storage.get("missing") is None


async def test_a_mapping_puts_each_of_its_entries(bench: StorageBench) -> None:
    await bench.storage.put({"a": 1, "b": 2, "c": 3})
    assert [await bench.storage.get(key) for key in "abc"] == [1, 2, 3]


async def test_getting_several_keys_gives_those_that_exist_in_order(bench: StorageBench) -> None:
    await fill(bench, "b", "a")
    found = await bench.storage.get(["b", "a", "missing", "b"])
    assert isinstance(found, JsDict)
    assert list(found.items()) == [("a", "A"), ("b", "B")]


async def test_delete_tells_whether_the_key_existed(bench: StorageBench) -> None:
    await fill(bench, "a")
    assert await bench.storage.delete("a") is True
    assert await bench.storage.delete("a") is False
    assert await bench.storage.get("a") is None


async def test_deleting_several_keys_counts_those_that_existed(bench: StorageBench) -> None:
    await fill(bench, "d1", "d2", "d3")
    assert await bench.storage.delete(["d1", "d2"]) == 2
    assert await bench.storage.delete(["d1", "zz"]) == 0
    assert list(await bench.storage.list()) == ["d3"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "a b c d e"),
        ({"limit": 2}, "a b"),
        ({"limit": 2.0}, "a b"),
        ({"reverse": True, "limit": 2}, "e d"),
        ({"start": "b", "end": "d"}, "b c"),
        ({"startAfter": "b"}, "c d e"),
        ({"startAfter": "b", "reverse": True}, "e d c"),
        ({"end": "b"}, "a"),
        ({"start": "c", "end": "b"}, ""),
        ({"start": "c", "end": "c"}, ""),
        ({"prefix": "a", "start": "b"}, ""),
        ({"prefix": "b", "start": "a"}, "b"),
        ({"prefix": "b", "startAfter": "b"}, ""),
        ({"prefix": "b", "end": "b"}, ""),
        ({"prefix": ""}, "a b c d e"),
        ({"limit": 2**31 - 1}, "a b c d e"),
        ({"limit": "2"}, "a b"),
        ({"limit": 2.9}, "a b"),
        ({"limit": True}, "a"),
        ({"end": None}, "a b c d e"),
    ],
)
async def test_list_gives_the_keys_of_a_range(
    bench: StorageBench, options: dict[str, object], expected: str
) -> None:
    await fill(bench, *"edcba")
    by_dict = await bench.storage.list(options)
    by_keywords = await bench.storage.list(**options)
    assert " ".join(by_dict) == expected
    assert list(by_dict.items()) == list(by_keywords.items())
    assert [key for key, _ in bench.storage.kv.list(options)] == expected.split()


async def test_a_prefix_selects_exactly_the_keys_that_begin_with_it(bench: StorageBench) -> None:
    keys = ["item", "item:", "item:1", "item:\U0010ffff", "item;", "j"]
    await fill(bench, *keys)
    assert list(await bench.storage.list(prefix="item:")) == keys[1:4]


@pytest.mark.parametrize("prefix", ["\ud7ff", "\U0010ffff", "a\U0010ffff", "\0"])
async def test_a_prefix_at_the_edge_of_unicode_selects_too(
    bench: StorageBench, prefix: str
) -> None:
    await fill(bench, prefix, prefix + "x", "plain")
    assert list(await bench.storage.list(prefix=prefix)) == [prefix, prefix + "x"]


async def test_keys_are_in_the_order_of_their_utf8_bytes(bench: StorageBench) -> None:
    await fill(bench, "é", "a", "Z", "\uffff", "\U0001f600")
    assert list(await bench.storage.list()) == ["Z", "a", "é", "\uffff", "\U0001f600"]


async def test_list_refuses_what_makes_no_range(bench: StorageBench) -> None:
    storage = bench.storage
    with pytest.raises(JsTypeError, match="both start and startAfter"):
        storage.list(start="a", startAfter="b")
    for limit in (0, -1, 0.9, float("nan"), None, "many"):
        with pytest.raises(JsTypeError, match=r"List limit must be positive\."):
            storage.list(limit=limit)
    with pytest.raises(JsTypeError, match=r"Value out of range\."):
        storage.list(limit=2**31)
    with pytest.raises(JsTypeError, match="must be a number"):
        storage.list(limit=[1])
    with pytest.raises(JsTypeError, match="parameter 1 is not of type 'ListOptions'"):
        storage.list(5)  # type: ignore[arg-type] # the mistake under test


async def test_put_without_a_value_is_refused_and_none_is_a_value(bench: StorageBench) -> None:
    with pytest.raises(TypeError, match=r"put\(\) called with undefined value\."):
        bench.storage.put("k")
    await bench.storage.put("k", None)
    assert await bench.storage.get("k") is None
    assert list(await bench.storage.list()) == ["k"]


async def test_put_takes_options_in_both_forms(bench: StorageBench) -> None:
    await bench.storage.put("a", 1, {"allowUnconfirmed": True})
    await bench.storage.put({"b": 2}, {"noCache": True})
    await bench.storage.put("c", 3, allowUnconfirmed=True)
    assert bench.host.confirmed == [False, True, False]
    with pytest.raises(JsTypeError, match=r"put\(\) may only be called with a single"):
        bench.storage.put({"d": 4}, 5)
    with pytest.raises(JsTypeError, match="parameter 3 is not of type 'PutOptions'"):
        bench.storage.put("d", 4, 5)  # type: ignore[arg-type] # the mistake under test
    assert await bench.storage.get("d") is None


@pytest.mark.parametrize(
    ("key", "text"), [(5, "5"), (None, "null"), (True, "true"), (1.5, "1.5"), (1e21, "1e+21")]
)
async def test_a_key_that_is_no_string_is_its_text(
    bench: StorageBench, key: str, text: str
) -> None:
    await bench.storage.put(key, 1)
    assert await bench.storage.get(text) == await bench.storage.get(key) == 1
    assert bench.storage.kv.get(key) == 1
    assert await bench.storage.delete(key) is True


@pytest.mark.parametrize("key", [b"k", (1,), datetime(2026, 1, 1)])
async def test_a_key_must_have_a_text(bench: StorageBench, key: str) -> None:
    for attempt in (
        lambda: bench.storage.get(key),
        lambda: bench.storage.put(key, 1),
        lambda: bench.storage.delete(key),
        lambda: bench.storage.kv.get(key),
    ):
        with pytest.raises(JsTypeError, match="must be a string"):
            attempt()


async def test_a_lone_surrogate_in_a_key_is_replaced(bench: StorageBench) -> None:
    await bench.storage.put("\ud800", 1)
    assert await bench.storage.get("\ufffd" * 3) == 1


async def test_mutation_after_put_or_get_changes_nothing_stored(bench: StorageBench) -> None:
    value = {"list": [1]}
    await bench.storage.put("k", value)
    value["list"].append(2)
    got = await bench.storage.get("k")
    assert isinstance(got, JsDict)
    got["list"].append(3)  # type: ignore[union-attr] # a list
    assert await bench.storage.get("k") == {"list": [1]}


async def test_nested_values_come_back_by_value(bench: StorageBench) -> None:
    value = {"when": datetime(2026, 1, 2), "set": {1, 2}, "raw": b"x", "list": [{"deep": True}]}
    await bench.storage.put("k", value)
    assert await bench.storage.get("k") == value


async def test_a_refused_value_stores_nothing(bench: StorageBench) -> None:
    with pytest.raises(DataCloneError):
        bench.storage.put("k", lambda: 1)
    with pytest.raises(TypeError, match="cannot be sent over RPC"):
        bench.storage.put({"a": 1, "b": (1,)})
    assert list(await bench.storage.list()) == []
    assert not bench.database.exists


async def test_a_batch_with_a_value_too_large_stores_none_of_it(bench: StorageBench) -> None:
    await bench.storage.put("a", "old")
    with pytest.raises(JsException, match=r"string or blob too big: SQLITE_TOOBIG$"):
        bench.storage.put({"a": "new", "b": "x" * 9_000_000})
    assert await bench.storage.get("a") == "old"
    assert await bench.storage.get("b") is None
    await bench.storage.put("after", 1)
    bench.end_turn()


async def test_delete_all_leaves_nothing_of_user_code(bench: StorageBench) -> None:
    await fill(bench, "a", "b")
    bench.sql("CREATE TABLE t (x)")
    bench.end_turn()
    await bench.storage.put("open", 1)
    await bench.storage.deleteAll()
    assert await bench.storage.get("a") is None
    assert list(await bench.storage.list()) == []
    with pytest.raises(JsException, match="no such table: t"):
        bench.sql("SELECT * FROM t")
    bench.end_turn()
    bench.reopen()
    assert list(await bench.storage.list()) == []
    await bench.storage.put("a", 1)
    assert await bench.storage.get("a") == 1


async def test_delete_all_copes_with_everything_sql_can_make(bench: StorageBench) -> None:
    bench.sql(
        """CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, b INTEGER REFERENCES b);
        CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a);
        INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1;
        CREATE INDEX i ON a (b); CREATE VIEW v AS SELECT * FROM a;
        CREATE TRIGGER g AFTER DELETE ON a BEGIN INSERT INTO b VALUES (NULL, NULL); END;
        CREATE VIRTUAL TABLE f USING fts5(text); INSERT INTO f VALUES ('words');
        CREATE VIRTUAL TABLE r USING rtree(id, x0, x1);
        CREATE TABLE "odd ""name" (x); ANALYZE"""
    )
    bench.end_turn()
    cursor = bench.storage.sql.exec("SELECT 1 UNION SELECT 2 UNION SELECT 3")
    await bench.storage.deleteAll()
    bench.end_turn()
    left = bench.sql("SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf\\_%' ESCAPE '\\'")
    assert [row["name"] for row in left if not str(row["name"]).startswith("sqlite_")] == []
    assert bench.sql("PRAGMA foreign_key_check") == []
    assert bench.sql("PRAGMA quick_check") == [{"quick_check": "ok"}]
    with pytest.raises(JsException, match="because the database was deleted"):
        list(cursor)


async def test_delete_all_of_an_object_that_never_wrote_makes_no_file(bench: StorageBench) -> None:
    await bench.storage.deleteAll()
    assert not bench.database.exists


async def test_puts_that_nobody_awaits_are_seen_and_kept(bench: StorageBench) -> None:
    bench.storage.put("k", 1)
    assert await bench.storage.get("k") == 1
    bench.end_turn()
    bench.reopen()
    assert await bench.storage.get("k") == 1


async def test_storage_calls_can_be_gathered(bench: StorageBench) -> None:
    storage = bench.storage
    await asyncio.gather(storage.put("a", 1), storage.put("b", 2))
    assert await asyncio.gather(storage.get("a"), storage.get("b")) == [1, 2]


async def test_sync_waits_for_what_was_written(bench: StorageBench) -> None:
    await bench.storage.sync()
    await bench.storage.put("k", 1)
    await bench.storage.sync()
    bench.reopen()
    assert await bench.storage.get("k") == 1


async def test_storage_of_an_ended_instance_is_refused_everywhere(bench: StorageBench) -> None:
    storage = bench.storage
    await storage.put("k", 1)
    kv, sql = storage.kv, storage.sql
    cursor = sql.exec("SELECT 1 UNION SELECT 2")
    bench.database.close()
    for attempt in (
        lambda: storage.get("k"),
        lambda: storage.put("k", 2),
        lambda: storage.delete("k"),
        lambda: storage.list(),
        lambda: storage.deleteAll(),
        lambda: storage.setAlarm(1),
        lambda: storage.getAlarm(),
        lambda: storage.deleteAlarm(),
        lambda: storage.transactionSync(lambda: 1),
        lambda: storage.transaction(lambda txn: 1),
        lambda: storage.sync(),
        lambda: storage.getCurrentBookmark(),
        lambda: kv.get("k"),
        lambda: kv.list(),
        lambda: sql.exec("SELECT 1"),
        lambda: sql.databaseSize,
        cursor.toArray,
    ):
        with pytest.raises(JsException, match=r"storage is no longer accessible\."):
            attempt()


# storage.kv


async def test_the_synchronous_api_shares_its_data(bench: StorageBench) -> None:
    kv = bench.storage.kv
    kv.put("a", {"x": 1})
    assert await bench.storage.get("a") == {"x": 1}
    await bench.storage.put("b", 2)
    assert kv.get("b") == 2
    assert list(kv.list()) == [["a", {"x": 1}], ["b", 2]]
    assert kv.delete("a") is True
    assert kv.delete("a") is False
    assert kv.get("a") is None


# Limits of production


async def test_strict_mode_has_productions_limits(open_bench: Callable[..., StorageBench]) -> None:
    storage = open_bench(strict=True).storage
    keys = [str(number) for number in range(129)]
    await storage.put(dict.fromkeys(keys[:128], 0))
    assert len(await storage.get(keys[:128])) == 128  # type: ignore[arg-type] # a mapping
    with pytest.raises(JsRangeError, match=r"key value pairs is 128\. 129 pairs were provided\."):
        storage.put(dict.fromkeys(keys, 0))
    for attempt in (storage.get, storage.delete):
        with pytest.raises(JsRangeError, match=r"129 keys were provided\."):
            attempt(keys)
    await storage.put("big", b"x" * 1_500_000)
    with pytest.raises(JsException, match="SQLITE_TOOBIG"):
        storage.put("big", "x" * 2_100_000)


async def test_in_strict_mode_a_file_has_ten_gigabytes_at_most(
    open_bench: Callable[..., StorageBench],
) -> None:
    bench = open_bench(strict=True)
    await bench.storage.put("a", 1)
    assert bench.database.value("PRAGMA max_page_count") == 10 * 1024**3 // 4096


async def test_without_strict_mode_only_sqlites_limit_counts(bench: StorageBench) -> None:
    await bench.storage.put({str(number): 0 for number in range(129)})
    await bench.storage.put("big", "x" * 3_000_000)
    with pytest.raises(JsException, match="SQLITE_TOOBIG"):
        bench.storage.put("big", "x" * 8_400_000)


# The file


async def test_a_person_can_read_the_file(bench: StorageBench) -> None:
    await bench.storage.put("user", {"name": "Alice", "admin": True})
    bench.end_turn()
    rows = apsw.Connection(str(bench.path)).execute("SELECT key, value FROM _cf_KV").fetchall()
    assert rows == [("user", '{"name":"Alice","admin":true}')]


async def test_a_value_that_wrangler_wrote_is_read(bench: StorageBench) -> None:
    await bench.storage.put("k", 1)
    blob = b'\xff\x0fo"\x01ai\x02{\x01'.replace(b"i\x02", b"I\x02")
    bench.database.run("UPDATE _cf_KV SET value = ?", (blob,))
    assert await bench.storage.get("k") == {"a": 1}
