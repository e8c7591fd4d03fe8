"""Values that wrangler's workerd wrote; the bytes are what Node's `v8.serialize` gives for each."""

from __future__ import annotations

import contextlib
import math
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workers.values import JsBigInt, JsDict

from dohost.errors import JsException
from dohost.storage.v8 import decode_v8


def decode(text: str) -> object:
    return decode_v8(bytes.fromhex(text))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (
            "ff0f6f22016149022201622201e92201630063022d4e220164410749024e00000000000004404905305f54462400077b04",
            {"a": 1, "b": "é", "c": "中", "d": [1, 2.5, -3, None, None, True, False]},
        ),
        ("ff0f4400004010c0b77942", datetime(2026, 1, 2)),
        ("ff0f5a20d20a3f4eeee073c3f60fe98e01000000", 123456789012345678901234567890),
        ("ff0f5a110500000000000000", -5),
        ("ff0f3b22016b490249042201783a04", {"k": 1, "2": "x"}),
        ("ff0f2749022201612c02", {1, "a"}),
        ("ff0f4203010203", b"\1\2\3"),
        ("ff0f420209085642000200", b"\x09\x08"),
        ("ff0f6f220178410149022400012201795e017b02", {"x": [1], "y": [1]}),
        ("ff0f4e000000000000f0ff", -math.inf),
        ("ff0f4e000000000000f041", 4294967296),
        ("ff0f61054906490e400105", [None, None, None, 7, None]),
        ("ff0f61034900490249044906400203", [1, None, 3]),
        ("ff0f6e0000000000001440", 5),
        ("ff0f73220173", "s"),
        ("ff0f79", True),
        ("ff0f78", False),
        ("ff0f220568656c6c6f", "hello"),
        ("ff0f5303e4b8ad", "中"),
        ("ff0f5507", 7),
        ("ff0d220568656c6c6f", "hello"),
        ("ff0f30", None),
    ],
)
def test_what_v8_wrote_is_read(stored: str, expected: object) -> None:
    assert decode(stored) == expected


def test_types_are_those_of_our_own_values() -> None:
    assert type(decode("ff0f5a110500000000000000")) is JsBigInt
    assert type(decode("ff0f4203010203")) is memoryview
    assert type(decode("ff0f6f7b00")) is JsDict
    assert math.isnan(decode("ff0f4e000000000000f87f"))  # type: ignore[arg-type] # a float


def test_cycles_and_aliases_are_kept() -> None:
    cycle = decode("ff0f6f220473656c665e007b01")
    assert isinstance(cycle, JsDict)
    assert cycle["self"] is cycle
    alias = decode("ff0f6f220178410149022400012201795e017b02")
    assert isinstance(alias, JsDict)
    assert alias["x"] is alias["y"]


def test_errors_come_back_as_exceptions() -> None:
    error = decode("ff0f72546d22036261647322012e2e")
    assert type(error) is Exception
    assert str(error) == "TypeError: bad"
    assert str(decode("ff0f722e")) == "Error"


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ("ff0f5222017801", "can't be read here"),
        ("ff1030", "version 16"),
        ("ff0f", "damaged"),
        ("ff0f2205", "damaged"),
        ("ff0f5e05", "damaged"),
        ("ff0f276f7b002c01", "holds objects"),
        ("ff0f72512e", "part that can't be read"),
        ("ff0f61ffffffff0f4000ffffffff0f", "too long"),
        ("ff0f44000000000000f87f", "damaged"),
        ("ff0f" + "4101" * 100_000, "damaged"),
        ("220161", "neither dohost's nor V8's"),
    ],
)
def test_what_can_not_be_read_is_a_clear_error(stored: str, message: str) -> None:
    with pytest.raises(JsException, match=message):
        decode(stored)


@given(st.binary(max_size=40))
def test_junk_is_a_value_or_a_clear_error(junk: bytes) -> None:
    with contextlib.suppress(JsException):
        decode_v8(b"\xff\x0f" + junk)
