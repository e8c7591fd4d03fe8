"""What JavaScript makes of arguments, as workerd was seen to do it."""

from __future__ import annotations

import math
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workers.values import JsBigInt

from dohost.errors import JsTypeError
from dohost.storage.coercion import int32_of, number_text, text_of, well_formed


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.00001, "0.00001"),
        (0.000001, "0.000001"),
        (1e-7, "1e-7"),
        (1.25e-7, "1.25e-7"),
        (123456.789, "123456.789"),
        (1e16, "10000000000000000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (5e-324, "5e-324"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_numbers_are_printed_as_javascript_prints_them(number: float, text: str) -> None:
    assert number_text(number) == text


@given(st.floats(allow_nan=False))
def test_a_printed_number_is_the_number(number: float) -> None:
    assert float(number_text(number)) == number


@pytest.mark.parametrize(
    ("value", "text"), [("x", "x"), (None, "null"), (True, "true"), (False, "false"), (5, "5")]
)
def test_text_of_what_has_a_text(value: object, text: str) -> None:
    assert text_of(value, "A key") == text


@pytest.mark.parametrize("value", [[], {}, b"x", (1,), object()])
def test_no_text_of_what_nobody_can_mean(value: object) -> None:
    with pytest.raises(JsTypeError, match=r"^TypeError: A key must be a string, not "):
        text_of(value, "A key")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        (2.9, 2),
        (-2.9, -2),
        ("7", 7),
        (" 3 ", 3),
        ("0x10", 16),
        ("1e2", 100),
        ("", 0),
        ("x", 0),
        (None, 0),
        (True, 1),
        (math.nan, 0),
        (math.inf, 0),
        (2**31 - 1, 2**31 - 1),
    ],
)
def test_integers_are_javascripts(value: object, number: int) -> None:
    assert int32_of(value, "A limit") == number


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1e300])
def test_integers_beyond_32_bits_are_refused(value: float) -> None:
    with pytest.raises(JsTypeError, match=r"Value out of range\. Must be between -2147483648"):
        int32_of(value, "A limit")


def test_what_is_no_integer_is_refused() -> None:
    with pytest.raises(JsTypeError, match="Cannot convert a BigInt value to a number"):
        int32_of(JsBigInt(1), "A limit")
    with pytest.raises(JsTypeError, match="A limit must be a number"):
        int32_of([1], "A limit")


def test_surrogates_that_belong_together_are_one_character() -> None:
    assert well_formed("\ud83d\ude00") == "\U0001f600"
    assert well_formed("a\ud800b") == "a\ufffd\ufffd\ufffdb"
    assert well_formed("é") == "é"


def test_a_long_text_of_digits_is_read_in_a_moment() -> None:
    began = perf_counter()
    assert int32_of("1" * 30_000 + "x", "A limit") == 0
    # Each way to cut the digits in two was tried: 25 s.
    assert perf_counter() - began < 2


def test_digits_of_other_scripts_are_no_number() -> None:
    assert int32_of("\u0663", "A limit") == 0
