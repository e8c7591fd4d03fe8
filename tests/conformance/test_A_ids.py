"""Rows A1 to A7: ids and their text."""

from __future__ import annotations

import re

import pytest

from dohost.clock import SeededEntropy
from dohost.errors import JsException, JsTypeError
from dohost.objects.id import IdFactory
from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(main="programs/store.py")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("http://foo/", "59002eb8cf872e541722977a258a12d6a93bbe8192b502e1c0cb250aa91af234"),
        ("http://foo/bar", "02b496f65dd35cbac90e3e72dc5a398ee93926ea4a3821e26677082d2e6f9b79"),
    ],
)
def test_A1_ids_are_derived_as_wrangler_derives_them(name: str, text: str) -> None:
    assert IdFactory("mykey", SeededEntropy(1)).from_name(name).toString() == text


async def test_A2_a_name_always_gives_the_same_id(dohost: IsolatedHost) -> None:
    one, two = (dohost.env.STORE.idFromName("x") for _ in range(2))
    assert one.toString() == two.toString()
    assert one.equals(two)
    assert one.name == "x"
    assert not one.equals(dohost.env.STORE.idFromName("y"))


async def test_A3_unique_ids_differ_and_have_no_name(dohost: IsolatedHost) -> None:
    one, two = (dohost.env.STORE.newUniqueId() for _ in range(2))
    assert not one.equals(two)
    for each in (one, two):
        assert re.fullmatch("[0-9a-f]{64}", each.toString())
        assert each.name is None


async def test_A4_an_id_goes_through_its_text_without_its_name(dohost: IsolatedHost) -> None:
    one = dohost.env.STORE.idFromName("x")
    again = dohost.env.STORE.idFromString(one.toString())
    assert again.toString() == one.toString()
    assert again.equals(one)
    assert again.name is None


@pytest.mark.parametrize("text", ["abc", "0" * 63, "x" * 64, "0" * 65, ""])
async def test_A5_text_that_is_no_id_is_refused(dohost: IsolatedHost, text: str) -> None:
    with pytest.raises(JsTypeError) as caught:
        dohost.env.STORE.idFromString(text)
    assert str(caught.value) == "TypeError: Invalid Durable Object ID: must be 64 hex digits"


async def test_A6_an_id_of_another_class_is_refused(dohost: IsolatedHost) -> None:
    foreign = dohost.env.OTHER.idFromName("x").toString()
    with pytest.raises(JsTypeError) as caught:
        dohost.env.STORE.idFromString(foreign)
    expected = "TypeError: Durable Object ID is not valid for this namespace."
    assert str(caught.value) == expected


async def test_A7_an_id_with_a_wrong_digit_is_refused(dohost: IsolatedHost) -> None:
    text = dohost.env.STORE.idFromName("x").toString()
    flipped = text[:-1] + ("1" if text[-1] == "0" else "0")
    with pytest.raises(JsException, match=r"^TypeError: Durable Object ID is not valid for this"):
        dohost.env.STORE.idFromString(flipped)
