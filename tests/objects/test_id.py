"""Ids equal wrangler's, and belong to one namespace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohost.clock import SeededEntropy
from dohost.errors import JsException
from dohost.objects.id import IdFactory


def factory(unique_key: str = "app-Counter") -> IdFactory:
    return IdFactory(unique_key, SeededEntropy(1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("http://foo/", "59002eb8cf872e541722977a258a12d6a93bbe8192b502e1c0cb250aa91af234"),
        ("http://foo/bar", "02b496f65dd35cbac90e3e72dc5a398ee93926ea4a3821e26677082d2e6f9b79"),
    ],
)
def test_ids_equal_the_published_vectors(name: str, expected: str) -> None:
    assert factory("mykey").from_name(name).toString() == expected


@given(st.text())
def test_the_same_name_gives_the_same_id(name: str) -> None:
    one, two = factory().from_name(name), factory().from_name(name)
    assert one.equals(two)
    assert one == two
    assert one.name == name


def test_other_names_and_other_classes_give_other_ids() -> None:
    ids = [
        factory("app-A").from_name("x"),
        factory("app-A").from_name("y"),
        factory("app-B").from_name("x"),
    ]
    assert len({str(each) for each in ids}) == 3


def test_unique_ids_have_no_name_and_differ() -> None:
    ids = factory()
    one, two = ids.unique(), ids.unique()
    assert not one.equals(two)
    assert one.name is None
    assert len(str(one)) == 64


def test_an_id_goes_through_text_and_loses_its_name() -> None:
    ids = factory()
    one = ids.from_name("alice")
    again = ids.from_string(one.toString().upper())
    assert again.equals(one)
    assert again.name is None


@pytest.mark.parametrize("text", ["", "abc", "a" * 63, "a" * 65, "g" * 64, " " * 64, "é" * 64])
def test_text_that_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(TypeError, match="Invalid Durable Object ID: must be 64 hex digits"):
        factory().from_string(text)


def test_an_id_of_another_namespace_or_with_a_flipped_digit_is_refused() -> None:
    foreign = factory("app-Other").from_name("x").toString()
    own = factory().from_name("x").toString()
    flipped = own[:-1] + ("0" if own[-1] != "0" else "1")
    for text in (foreign, flipped):
        with pytest.raises(JsException, match="Durable Object ID is not valid for this namespace"):
            factory().from_string(text)


@pytest.mark.parametrize("name", ["n" * 1025, "é" * 513])
def test_a_name_of_more_than_1024_bytes_is_not_told_to_its_object(name: str) -> None:
    long = factory().from_name(name)
    assert long.name == name
    assert long.inside().name is None
    assert long.inside() == long
    short = factory().from_name(name[:512])
    assert short.inside() is short


def test_a_name_that_is_no_text_is_its_text() -> None:
    assert factory().from_name(5) == factory().from_name("5")  # type: ignore[arg-type] # JavaScript's way
