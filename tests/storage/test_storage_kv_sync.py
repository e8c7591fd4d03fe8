"""`ctx.storage.kv`: iterators over a range, and who may use them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from storage_bench import StorageBench

from dohost.errors import JsException, JsTypeError


def test_only_the_latest_kv_iterator_is_valid(bench: StorageBench) -> None:
    kv = bench.storage.kv
    kv.put("a", 1)
    kv.put("b", 2)
    first = kv.list()
    assert next(first) == ["a", 1]
    second = kv.list()
    assert next(second) == ["a", 1]
    with pytest.raises(JsException, match=r"kv\.list\(\) iterator was invalidated because"):
        next(first)


def test_a_kv_iterator_reads_on_over_many_rows(bench: StorageBench) -> None:
    kv = bench.storage.kv
    keys = [f"{number:04}" for number in range(300)]
    for key in keys:
        kv.put(key, key)
    assert [key for key, _ in kv.list()] == keys
    assert [key for key, _ in kv.list(reverse=True)] == keys[::-1]
    assert [key for key, _ in kv.list(limit=256)] == keys[:256]
    assert [key for key, _ in kv.list(limit=257, startAfter="0001")] == keys[2:259]


def test_a_kv_iterator_reads_its_first_entry_at_once_and_the_others_when_asked(
    bench: StorageBench,
) -> None:
    kv = bench.storage.kv
    kv.put("a", 1)
    kv.put("b", 2)
    iterator = kv.list()
    kv.delete("a")
    kv.delete("b")
    kv.put("c", 3)
    assert list(iterator) == [["a", 1], ["c", 3]]


async def test_only_a_list_that_reads_invalidates_an_iterator(bench: StorageBench) -> None:
    kv = bench.storage.kv
    kv.put("a", 1)
    iterator = kv.list()
    assert list(kv.list(start="b", end="a")) == []
    with pytest.raises(JsTypeError):
        kv.list(limit=0)
    assert next(iterator) == ["a", 1]
    await bench.storage.list()
    with pytest.raises(JsException, match=r"kv\.list\(\) iterator was invalidated because"):
        next(iterator)


async def test_delete_all_ends_an_iterator(bench: StorageBench) -> None:
    kv = bench.storage.kv
    kv.put("a", 1)
    kv.put("b", 2)
    iterator = kv.list()
    await bench.storage.deleteAll()
    assert list(iterator) == []


def test_a_class_without_sql_has_no_synchronous_kv(
    open_bench: Callable[..., StorageBench],
) -> None:
    bench = open_bench(sql_enabled=False)
    with pytest.raises(
        JsException, match=r"^Error: The storage\.kv \(synchronous KV\) API is only"
    ):
        _ = bench.storage.kv
