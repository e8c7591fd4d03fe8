"""Rows D: keys and values. (D12 without undefined, D13 not at all: JavaScript only. D19 is with deleteAll.)"""

from __future__ import annotations

from datetime import datetime

import msgspec
import pytest
from storage_rows import inside, store
from workers.values import JsDict

from dohost.errors import DataCloneError, JsException, JsRangeError, JsTypeError
from dohost.storage.storage import DurableObjectStorage
from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(main="programs/store.py", evict_after_s=None)


async def keys(dohost: IsolatedHost, stored: str, **options: object) -> str:
    """Return the keys that `list` gives, one letter each, of those that were stored."""

    async def body(storage: DurableObjectStorage) -> str:
        await storage.put(dict.fromkeys(stored.split(), 1))
        return " ".join(await storage.list(options))

    return await inside(dohost, body)


async def test_D1_put_and_get(dohost: IsolatedHost) -> None:
    await inside(dohost, lambda storage: storage.put("k", "v"))
    assert await inside(dohost, lambda storage: storage.get("k")) == "v"
    assert await inside(dohost, lambda storage: storage.get("missing")) is None


async def test_D2_a_dict_puts_its_entries(dohost: IsolatedHost) -> None:
    await inside(dohost, lambda storage: storage.put({"a": 1, "b": 2, "c": 3}))
    for key, value in (("a", 1), ("b", 2), ("c", 3)):
        assert await inside(dohost, lambda storage, key=key: storage.get(key)) == value


async def test_D3_get_of_several_gives_those_that_exist(dohost: IsolatedHost) -> None:
    await inside(dohost, lambda storage: storage.put({"b": 2, "a": 1}))
    found = await inside(dohost, lambda storage: storage.get(["b", "missing", "a"]))
    assert isinstance(found, JsDict)
    assert list(found.items()) == [("a", 1), ("b", 2)]


async def test_D4_delete_tells_whether_the_key_existed(dohost: IsolatedHost) -> None:
    await inside(dohost, lambda storage: storage.put("k", 1))
    assert await inside(dohost, lambda storage: storage.delete("k")) is True
    assert await inside(dohost, lambda storage: storage.get("k")) is None
    assert await inside(dohost, lambda storage: storage.delete("k")) is False


async def test_D5_delete_of_several_counts_those_that_existed(dohost: IsolatedHost) -> None:
    await inside(dohost, lambda storage: storage.put({"d1": 1, "d2": 2, "d3": 3}))
    assert await inside(dohost, lambda storage: storage.delete(["d1", "d2"])) == 2
    assert await inside(dohost, lambda storage: storage.delete(["d3", "zz"])) == 1


async def test_D6_a_prefix_selects_sorted(dohost: IsolatedHost) -> None:
    assert await keys(dohost, "z list:b a list:c list:a", prefix="list:") == "list:a list:b list:c"


async def test_D7_a_prefix_and_a_limit(dohost: IsolatedHost) -> None:
    stored = "item:1 item:2 item:3 item:4 item:5"
    assert await keys(dohost, stored, prefix="item:", limit=2) == "item:1 item:2"


async def test_D8_reverse_with_a_limit_takes_the_greatest(dohost: IsolatedHost) -> None:
    assert await keys(dohost, "a b c d", reverse=True, limit=2) == "d c"


async def test_D9_bounds(dohost: IsolatedHost) -> None:
    assert await keys(dohost, "a b c d e", start="b", end="d") == "b c"
    assert await keys(dohost, "a b c d e", startAfter="b") == "c d e"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"start": "a", "startAfter": "a"},
            "list() cannot be called with both start and startAfter values.",
        ),
        ({"limit": 0}, "List limit must be positive."),
        ({"limit": -1}, "List limit must be positive."),
    ],
)
async def test_D10_list_refuses_what_makes_no_range(
    dohost: IsolatedHost, options: dict[str, object], message: str
) -> None:
    with pytest.raises(JsTypeError) as caught:
        await keys(dohost, "a", **options)
    assert caught.value.message == message


async def test_D10_an_empty_range_is_empty(dohost: IsolatedHost) -> None:
    assert await keys(dohost, "a b c", start="b", end="b") == ""
    assert await keys(dohost, "a b c", start="c", end="a") == ""


async def test_D11_prefixes_and_the_order_of_keys(dohost: IsolatedHost) -> None:
    assert await keys(dohost, "a b c", prefix="a", start="b") == ""
    assert await keys(dohost, "é a Z", prefix="") == "Z a b c é"


async def test_D12_none_is_a_value(dohost: IsolatedHost) -> None:
    await inside(dohost, lambda storage: storage.put("k", None))
    assert await inside(dohost, lambda storage: storage.get("k")) is None
    assert list(await inside(dohost, lambda storage: storage.list())) == ["k"]
    with pytest.raises(JsTypeError, match=r"put\(\) called with undefined value\."):
        await inside(dohost, lambda storage: storage.put("k"))


async def test_D14_put_takes_options_last(dohost: IsolatedHost) -> None:
    await inside(dohost, lambda storage: storage.put("a", 1, {"allowUnconfirmed": True}))
    await inside(dohost, lambda storage: storage.put({"b": 2}, {"noCache": True}))
    assert dict(await inside(dohost, lambda storage: storage.list())) == {"a": 1, "b": 2}
    with pytest.raises(JsTypeError, match=r"put\(\) may only be called with a single key-value"):
        await inside(dohost, lambda storage: storage.put({"c": 3}, 5))


@pytest.mark.parametrize("value", ["text", 5, 1.5, True, False, -(2**53) + 1])
async def test_D15_scalars_keep_their_type(dohost: IsolatedHost, value: object) -> None:
    await inside(dohost, lambda storage: storage.put("k", value))
    found = await inside(dohost, lambda storage: storage.get("k"))
    assert found == value
    assert type(found) is type(value)


async def test_D16_containers_go_by_value(dohost: IsolatedHost) -> None:
    value = {"list": [1, [2]], "when": datetime(2026, 1, 2), "raw": b"x", "set": {1, 2}}

    async def put_and_change(storage: DurableObjectStorage) -> None:
        await storage.put("k", value)
        value["list"].append("later")

    await inside(dohost, put_and_change)
    found = await inside(dohost, lambda storage: storage.get("k"))
    assert found == {"list": [1, [2]], "when": datetime(2026, 1, 2), "raw": b"x", "set": {1, 2}}
    assert type(found["raw"]) is memoryview


async def test_D17_a_function_is_no_value(dohost: IsolatedHost) -> None:
    with pytest.raises(
        DataCloneError, match=r"^DataCloneError: \[object Object\] could not be cloned\."
    ):
        await inside(dohost, lambda storage: storage.put("k", print))
    assert await store(dohost).keys() == []


async def test_D18_a_batch_is_stored_whole_or_not_at_all(dohost: IsolatedHost) -> None:
    async def body(storage: DurableObjectStorage) -> None:
        await storage.put("a", "old")
        with pytest.raises(JsException, match=r"^Error: string or blob too big: SQLITE_TOOBIG$"):
            await storage.put({"a": "new", "b": "x" * 9_000_000, "c": 1})

    await inside(dohost, body)
    assert dict(await inside(dohost, lambda storage: storage.list())) == {"a": "old"}


async def test_D20_a_transactions_callback_may_be_ordinary(dohost: IsolatedHost) -> None:
    assert await inside(dohost, lambda storage: storage.transaction(lambda txn: "test")) == "test"


async def test_D21_sync(dohost: IsolatedHost) -> None:
    async def body(storage: DurableObjectStorage) -> object:
        await storage.sync()
        await storage.put("k", 1)
        await storage.sync()
        return await storage.get("k")

    assert await inside(dohost, body) == 1


async def test_D22_a_put_that_nobody_awaits_is_seen_and_kept(dohost: IsolatedHost) -> None:
    assert await store(dohost).put_unawaited() == 1
    await dohost.evict(store(dohost))
    assert await store(dohost).keys() == ["quick"]


async def test_D23_options_may_be_keywords(dohost: IsolatedHost) -> None:
    await inside(dohost, lambda storage: storage.put({"a1": 1, "a2": 2, "b": 3}))
    by_dict = await inside(dohost, lambda storage: storage.list({"prefix": "a", "limit": 1}))
    by_name = await inside(dohost, lambda storage: storage.list(prefix="a", limit=1))
    assert dict(by_dict) == dict(by_name) == {"a1": 1}


async def test_D24_the_synchronous_api_shares_the_data(dohost: IsolatedHost) -> None:
    async def body(storage: DurableObjectStorage) -> None:
        storage.kv.put("a", 1)
        await storage.put("b", 2)
        assert await storage.get("a") == 1
        assert storage.kv.get("b") == 2
        assert list(storage.kv.list()) == [["a", 1], ["b", 2]]
        assert storage.kv.delete("a") is True
        assert storage.kv.delete("a") is False

    await inside(dohost, body)


async def test_D25_a_new_iterator_ends_the_one_before(dohost: IsolatedHost) -> None:
    def body(storage: DurableObjectStorage) -> None:
        storage.kv.put("a", 1)
        storage.kv.put("b", 2)
        first, second = storage.kv.list(), storage.kv.list()
        assert next(second) == ["a", 1]
        with pytest.raises(JsException) as caught:
            next(first)
        assert caught.value.message == (
            "kv.list() iterator was invalidated because a new call to kv.list() was started. "
            "Only one kv.list() iterator can exist at a time."
        )

    await inside(dohost, body)


LEGACY = """
class Counter(DurableObject):
    def kv(self):
        self.ctx.storage.kv.get("k")

    def size(self):
        return self.ctx.storage.sql.databaseSize

    def exec(self):
        self.ctx.storage.sql.exec("SELECT 1")

    def sync_transaction(self):
        self.ctx.storage.transactionSync(lambda: 1)
"""


@pytest.mark.parametrize(
    ("method", "message"),
    [
        pytest.param("kv", "The storage.kv (synchronous KV) API is only available", id="D26"),
        pytest.param("exec", "SQL is not enabled for this Durable Object class.", id="E31-exec"),
        pytest.param("size", "SQL is not enabled for this Durable Object class.", id="E31-size"),
        pytest.param("sync_transaction", "Durable Object is not backed by SQL.", id="F16"),
    ],
)
async def test_D26_E31_F16_a_legacy_class_has_the_asynchronous_api_alone(
    bench, method: str, message: str
) -> None:
    config = bench.config(LEGACY)
    await bench.run(msgspec.structs.replace(config, classes={"Counter": "kv"}))
    with pytest.raises(JsException) as caught:
        await getattr(bench.stub(), method)()
    assert caught.value.message.startswith(message)


@pytest.mark.dohost(main="programs/store.py", strict=True)
async def test_D27_production_limits_keys_and_values(dohost: IsolatedHost) -> None:
    with pytest.raises(JsRangeError) as caught:
        await inside(dohost, lambda storage: storage.put({str(n): n for n in range(129)}))
    expected = "Maximum number of key value pairs is 128. 129 pairs were provided."
    assert caught.value.message == expected
    with pytest.raises(JsException, match="SQLITE_TOOBIG"):
        await inside(dohost, lambda storage: storage.put("k", "x" * 2 * 1024 * 1024))
    await inside(dohost, lambda storage: storage.put({str(n): n for n in range(128)}))
