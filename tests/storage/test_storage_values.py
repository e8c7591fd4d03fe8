"""The readable encoding: what a person sees in the file, and what comes back."""

from __future__ import annotations

import dataclasses
import enum
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workers.values import JsBigInt, JsDict

from dohost.errors import DataCloneError, JsException, JsRangeError
from dohost.storage.values import decode, encode, serialized_bytes


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (-(2**53) + 1, "-9007199254740991"),
        (1.0, "1"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (2**53, '{"$bigint":"9007199254740992"}'),
        (math.inf, '{"$number":"Infinity"}'),
        (-math.inf, '{"$number":"-Infinity"}'),
        (math.nan, '{"$number":"NaN"}'),
        ("é", '"é"'),
        ("\0", '"\\u0000"'),
        (b"abc", '{"$bytes":"YWJj"}'),
        (datetime(2026, 1, 2), '{"$date":1767312000000}'),
        ({"a": [1, {"b": None}]}, '{"a":[1,{"b":null}]}'),
        ({"$a": 1}, '{"$$a":1}'),
        ({1: 2}, '{"1":2}'),
        ({5}, '{"$set":[5]}'),
        (ValueError("x"), '{"$error":"Error: x"}'),
    ],
)
def test_values_are_stored_as_people_read_them(value: object, stored: str) -> None:
    assert encode(value).replace("1e300", "1e+300") == stored


def test_numbers_come_back_as_javascript_has_them() -> None:
    for given_, expected in [(1.0, 1), (-0.0, 0), (1.5, 1.5), (2.0**60, 2.0**60), (True, True)]:
        back = decode(encode(given_))
        assert back == expected
        assert type(back) is type(expected)
    assert math.isnan(decode(encode(math.nan)))  # type: ignore[arg-type] # a float
    big = decode(encode(2**60))
    assert big == 2**60
    assert type(big) is JsBigInt


def test_bytes_come_back_as_memoryview() -> None:
    for value in (b"\xff\0", memoryview(b"\xff\0")):
        back = decode(encode(value))
        assert type(back) is memoryview
        assert bytes(back) == b"\xff\0"


def test_dates_come_back_naive_in_utc_with_milliseconds() -> None:
    expected = datetime(2026, 1, 2, 3, 4, 5, 678_000)
    zone = timezone(timedelta(hours=2))
    assert decode(encode(datetime(2026, 1, 2, 3, 4, 5, 678_999))) == expected
    assert decode(encode(datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC))) == expected
    assert decode(encode(datetime(2026, 1, 2, 5, 4, 5, 678_000, tzinfo=zone))) == expected
    assert decode(encode(datetime(1969, 12, 31, 23, 59, 59, 999_000))) == datetime(
        1969, 12, 31, 23, 59, 59, 999_000
    )


def test_dicts_come_back_with_attributes() -> None:
    back = decode(encode({"user": {"name": "alice"}, "tags": [{"x": 1}]}))
    assert type(back) is JsDict
    assert back.user.name == "alice"
    assert back.tags[0].x == 1


def test_errors_come_back_as_exceptions_without_their_class() -> None:
    back = decode(encode(ValueError("bad")))
    assert type(back) is Exception
    assert str(back) == "Error: bad"


@pytest.mark.parametrize("value", [(1,), bytearray(b"x"), [(1,)], {"a": bytearray(b"x")}])
def test_tuples_and_bytearrays_are_refused_at_any_depth(value: object) -> None:
    with pytest.raises(TypeError, match=r"<class '(tuple|bytearray)'> cannot be sent over RPC\."):
        encode(value)


@dataclasses.dataclass
class Point:
    x: int


class Colour(enum.Enum):
    red = 1


@pytest.mark.parametrize(
    "value", [Point(1), Colour.red, 1j, frozenset((1,)), object(), lambda: 1, [Point(1)]]
)
def test_foreign_objects_are_refused(value: object) -> None:
    with pytest.raises(DataCloneError) as caught:
        encode(value)
    assert str(caught.value) == "DataCloneError: [object Object] could not be cloned."


def test_platform_objects_are_refused() -> None:
    from workers.blob import Blob

    with pytest.raises(DataCloneError):
        encode({"blob": Blob([b"x"])})


def test_aliases_and_cycles_come_back_as_such() -> None:
    shared = [1]
    value: dict[str, object] = {"a": shared, "b": shared, "c": {1, 2}}
    value["self"] = value
    back = decode(encode(value))
    assert isinstance(back, JsDict)
    assert back["self"] is back
    assert back["a"] is back["b"]
    assert back["a"] == [1]
    same: dict[str, object] = {"s": {3}}
    same["t"] = same["s"]
    again = decode(encode(same))
    assert isinstance(again, JsDict)
    assert again["s"] is again["t"]
    assert again["s"] == {3}


def test_nesting_deeper_than_the_stack_is_a_range_error() -> None:
    deep: list[object] = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(JsRangeError, match="Maximum call stack size exceeded"):
        encode(deep)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_lone_surrogates_survive(text: str) -> None:
    assert decode(encode(text)) == text
    assert decode(encode({"k": text, "s": {text}})) == {"k": text, "s": {text}}


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "{",
        "nope",
        '{"$nope":1}',
        '{"$bytes":"!"}',
        '{"$bytes":1}',
        '{"$set":1}',
        '{"$same":4}',
        '{"$same":"x"}',
        '{"$number":"7"}',
        '{"$bigint":"x"}',
        '{"$date":1e300}',
        '{"$date":99999999999999999999}',
        '{"$object":0}',
        '{"$object":0,"$is":3}',
        5,
    ],
)
def test_a_damaged_value_is_a_clear_error(stored: str) -> None:
    with pytest.raises(JsException, match="stored value"):
        decode(stored)


def test_a_blob_that_nobody_wrote_is_a_clear_error() -> None:
    with pytest.raises(JsException, match="neither dohost's nor V8's"):
        decode(b"\x00abc")


def test_the_size_that_production_counts_is_that_of_the_bytes() -> None:
    assert 1_000_000 <= serialized_bytes(b"x" * 1_000_000) < 1_000_100


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.datetimes().map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000, fold=0))
)
keys = st.text(max_size=5) | st.sampled_from(["$", "$set", "$bytes", "$$x", "$object"])
values = st.recursive(
    scalars | st.sets(scalars.filter(lambda value: not isinstance(value, str | bytes))),
    lambda inner: st.lists(inner) | st.dictionaries(keys, inner),
    max_leaves=15,
)


def is_utf16(value: object) -> bool:
    """Whether no text in `value` has a surrogate pair spelt as two characters, which JSON joins."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") == value
    if isinstance(value, dict):
        return all(map(is_utf16, value)) and all(map(is_utf16, value.values()))
    return not isinstance(value, list) or all(map(is_utf16, value))


@given(values.filter(is_utf16))
def test_whatever_is_stored_comes_back_equal(value: object) -> None:
    assert decode(encode(value)) == value


@given(values.filter(is_utf16))
def test_what_comes_back_is_stored_the_same_way(value: object) -> None:
    stored = encode(value)
    back = decode(stored)
    assert decode(encode(back)) == back
