"""The copy rule for values: the recorded table, row by row, and its laws."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, timedelta, timezone
from http import HTTPMethod

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workers import Blob, FormData, Headers, ReadableStream, Request, Response, RpcTarget
from workers.values import (
    CLONE_BYTES_MAX,
    RPC_REFUSAL,
    STORAGE_REFUSAL,
    ByReference,
    JsBigInt,
    JsDict,
    Uint8Array,
    clone,
    clone_sized,
)

from dohost.errors import DataCloneError, JsException, JsRangeError

SAFE = 2**53 - 1


@pytest.mark.parametrize(
    ("value", "copy", "kind"),
    [
        (None, None, type(None)),
        (True, True, bool),
        (False, False, bool),
        ("", "", str),
        ("test", "test", str),
        (42, 42, int),
        (1.2345, 1.2345, float),
        (1.0, 1, int),
        (-0.0, 0, int),
        (float(SAFE), SAFE, int),
        (2.0**53, 2.0**53, float),
        (math.inf, math.inf, float),
        (SAFE, SAFE, int),
        (-SAFE, -SAFE, int),
        (SAFE + 1, SAFE + 1, JsBigInt),
        (2**60, 2**60, JsBigInt),
        (-(2**60), -(2**60), JsBigInt),
        (JsBigInt(5), 5, JsBigInt),
        (HTTPMethod.GET, "GET", str),
        (b"ab", b"ab", memoryview),
        (memoryview(b"ab"), b"ab", memoryview),
        (Uint8Array(b"ab"), b"ab", memoryview),
        ([1, 2, 3], [1, 2, 3], list),
        ({1, 2}, {1, 2}, set),
        ({"a": 1}, {"a": 1}, JsDict),
        (OrderedDict(a=1.0), {"a": 1}, JsDict),
    ],
)
def test_a_value_arrives_as_recorded(value: object, copy: object, kind: type) -> None:
    for wrapped, unwrap in (
        (value, lambda x: x),
        ([value], lambda x: x[0]),
        ({"k": value}, lambda x: x.k),
    ):
        result = unwrap(clone(wrapped))
        assert result == copy
        assert type(result) is kind


def test_nan_stays_nan() -> None:
    assert math.isnan(clone(math.nan))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (1, "1"),
        (1.0, "1"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        (HTTPMethod.PUT, "PUT"),
    ],
)
def test_keys_become_property_names(key: object, name: str) -> None:
    assert list(clone({key: 2})) == [name]


@pytest.mark.parametrize("value", [(1,), bytearray(b"x"), ()])
@pytest.mark.parametrize(
    "nest", [lambda x: x, lambda x: [x], lambda x: {"t": x}, lambda x: [{"a": [x]}]]
)
def test_tuple_and_bytearray_are_refused_at_any_depth(value, nest) -> None:
    with pytest.raises(TypeError) as caught:
        clone(nest(value))
    assert str(caught.value) == f"{type(value)} cannot be sent over RPC."


def test_a_tuple_as_a_key_is_refused() -> None:
    with pytest.raises(TypeError, match="<class 'tuple'> cannot be sent over RPC"):
        clone({(1, 2): 3})


@dataclasses.dataclass
class _Point:
    x: int


class _Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [
        _Point(1),
        _Colour.RED,
        1j,
        frozenset({1}),
        object(),
        range(3),
        int,
        date(2026, 1, 1),
        iter([1]),
    ],
)
@pytest.mark.parametrize("refusal", [RPC_REFUSAL, STORAGE_REFUSAL])
def test_foreign_objects_are_refused_with_the_recorded_message(value: object, refusal: str) -> None:
    for nested in (value, [value], {"v": value}):
        with pytest.raises(DataCloneError) as caught:
            clone(nested, refusal=refusal)
        assert str(caught.value) == f"DataCloneError: {refusal}"


def test_a_foreign_key_is_refused() -> None:
    with pytest.raises(DataCloneError):
        clone({object(): 1})


def test_a_named_tuple_is_refused_by_its_own_name() -> None:
    pair = namedtuple("pair", "a b")
    with pytest.raises(TypeError, match="cannot be sent over RPC"):
        clone(pair(1, 2))


def test_an_awaitable_is_refused() -> None:
    async def late() -> None: ...

    coroutine = late()
    with pytest.raises(TypeError, match=r"Awaitable <.*> cannot be sent over RPC\."):
        clone([coroutine])
    coroutine.close()


def test_dates_come_back_naive_in_utc_with_milliseconds() -> None:
    two_hours_east = timezone(timedelta(hours=2))
    assert clone(datetime(2026, 1, 2, tzinfo=UTC)) == datetime(2026, 1, 2)
    assert clone(datetime(2026, 1, 2, 2, tzinfo=two_hours_east)) == datetime(2026, 1, 2)
    assert clone([datetime(2026, 1, 2, 3, 4, 5, 678_999)]) == [
        datetime(2026, 1, 2, 3, 4, 5, 678_000)
    ]


def test_an_exception_loses_its_class_at_each_crossing() -> None:
    once = clone(ValueError("x"))
    assert type(once) is Exception
    assert str(once) == "Error: x"
    assert str(clone(once)) == "Error: Error: x"


def test_bytes_are_shared_and_mutable_buffers_are_not() -> None:
    content = b"0123"
    assert clone(content).obj is content
    source = bytearray(b"0123")
    copy = clone(memoryview(source))
    source[0] = 0
    assert copy == b"0123"
    assert copy.readonly
    assert clone(memoryview(content)[::2]) == b"02"


def test_platform_objects_need_a_wrapper_as_well() -> None:
    for value in (
        Request("http://x/"),
        Response("x"),
        FormData(),
        Blob("x"),
        Headers(),
        ReadableStream(),
    ):
        assert clone([value], wrap=lambda given: given)[0] is value
        with pytest.raises(DataCloneError, match="could not be cloned"):
            clone([value], refusal=STORAGE_REFUSAL)


def test_functions_and_targets_need_a_wrapper() -> None:
    class Target(RpcTarget): ...

    target, seen = Target(), []

    def wrap(value: object) -> object:
        seen.append(value)
        return ("stub", value)

    result = clone({"f": len, "t": target, "again": [target]}, wrap=wrap)
    assert result.f == ("stub", len)
    assert result.t is result.again[0]
    assert seen == [len, target]
    assert isinstance(target, ByReference)
    with pytest.raises(DataCloneError):
        clone(target)
    with pytest.raises(DataCloneError):
        clone(len)


def test_cycles_and_aliases_are_kept() -> None:
    shared = [1]
    value: dict[str, object] = {"a": shared, "b": shared}
    value["self"] = value
    copy = clone(value)
    assert copy.self is copy
    assert copy.a is copy.b
    assert copy.a is not shared


def test_nesting_beyond_the_stack_is_a_range_error() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(JsRangeError, match="Maximum call stack size exceeded"):
        clone(value)


@pytest.mark.parametrize(
    "make", [lambda n: b"x" * (n - 4), lambda n: "x" * (n - 3), lambda n: ["x" * (n - 7)]]
)
def test_thirty_two_mebibytes_pass_and_one_byte_more_does_not(make) -> None:
    clone(make(CLONE_BYTES_MAX))
    with pytest.raises(JsException) as caught:
        clone(make(CLONE_BYTES_MAX + 1))
    assert str(caught.value) == (
        "Error: Serialized RPC arguments or return values are limited to 32MiB, "
        f"but the size of this value was: {CLONE_BYTES_MAX + 1} bytes."
    )


def test_a_flat_dict_of_large_texts_is_measured_too() -> None:
    with pytest.raises(JsException, match="32MiB"):
        clone({str(index): "x" * 1_000_000 for index in range(34)})


def test_size_counts_text_beyond_ascii_twice() -> None:
    assert clone_sized("é" * 100)[1] - clone_sized("e" * 100)[1] == 100


def test_a_js_dict_has_items_as_attributes() -> None:
    row = JsDict(name="Ada")
    assert row.name == row["name"] == "Ada"
    row.age = 36
    assert row == {"name": "Ada", "age": 36}
    assert repr(row) == "{'name': 'Ada', 'age': 36}"
    del row.age
    with pytest.raises(AttributeError, match="age"):
        row.age  # noqa: B018 - reading raises
    with pytest.raises(AttributeError):
        del row.age


_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30
)


def _containers(value: object) -> list[int]:
    if isinstance(value, dict):
        return [id(value), *(found for item in value.values() for found in _containers(item))]
    if isinstance(value, list):
        return [id(value), *(found for item in value for found in _containers(item))]
    return []


@given(_values)
def test_a_copy_equals_its_original_and_shares_nothing_mutable(value: object) -> None:
    copy = clone(value)
    assert copy == value
    assert not set(_containers(copy)) & set(_containers(value))


@given(_values)
def test_copying_a_copy_changes_nothing(value: object) -> None:
    copy = clone(value)
    again = clone(copy)
    assert again == copy
    assert type(again) is type(copy)


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_the_fast_path_agrees_with_the_full_copy(value: dict[str, object]) -> None:
    fast, full = clone(value), clone_sized(value)[0]
    assert fast == full
    assert [type(item) for item in fast.values()] == [type(item) for item in full.values()]
