"""Dictionaries of structured fields, with http-sf as oracle, and the targeted fields that are made of them."""

from __future__ import annotations

from time import perf_counter

import http_sf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dohost.gateway.cache_control import CacheControl, parse_targeted
from dohost.gateway.structured_fields import parse_dictionary

PIECES = [
    *("a", "b=", "*", "=", "=1", "=-1", "=1.5", "=?1", "=?0", "=tok", '="s"', "=@1", "=:YQ==:"),
    *("=(", ")", " ", "\t", ", ", ";", ";x", "; y=1", '"', "\\", '\\"', "1", ".", '=%"', "%c3%a9"),
    *("%c3", "A", "é", "_", "/", "~", "?", "@", ":"),
]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map("".join))
@example("a=(1  tok;x )")
@example('a=%"%c3"')
@example("a=1234567890123456")
@example("a=1.2345")
@example("a=1,")
@example("a \t")
def test_a_text_is_a_dictionary_where_the_oracle_says_so(text: str) -> None:
    try:
        expected = http_sf.parse(text.encode("latin-1"), tltype="dictionary")
    except http_sf.StructuredFieldError:
        expected = None
    found = parse_dictionary(text)
    if not text.strip(" \t"):
        assert found == {}
    elif expected is None:
        assert found is None
    else:
        assert found is not None
        assert list(found) == list(expected)


def test_the_values_in_use_are_read() -> None:
    text = 'a, b=7;x=1, c=-3, d="x\\"y";z, e=?0, f=tok, g=1.0, h=(1 2);y, i=:YQ==:, a=?1, b=8'
    assert parse_dictionary(text) == {
        "a": True,
        "b": 8,
        "c": -3,
        "d": 'x"y',
        "e": False,
        **dict.fromkeys("fghi"),
    }


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("no-store;x", CacheControl(no_store=True)),
        ("max-age=60;x=1, other=(1 2)", CacheControl(max_age=60)),
        ("max-age=60, max-age=5", CacheControl(max_age=5)),
        ('max-age=tok, s-maxage="7"', CacheControl(max_age=0, s_maxage=7)),
        ("no-store=?0, public", CacheControl(public=True)),
        (
            'private="X-A, x-b", no-cache=1.5',
            CacheControl(no_cache=True, fields=frozenset({"x-a", "x-b"})),
        ),
        ("max-age=60;;", None),
        ("Max-Age=60", None),
        ("max-age=60, ", None),
        ("", None),
    ],
)
def test_a_targeted_field_is_a_dictionary(text: str, control: CacheControl | None) -> None:
    assert parse_targeted([text]) == control


@pytest.mark.parametrize(
    "text",
    [
        "a" + ";" * 100_000,
        "a=(" + "1 " * 50_000,
        'a="' + "\\\\" * 50_000,
        "a" + " " * 100_000 + "b",
    ],
)
def test_a_hostile_dictionary_costs_no_more_than_its_length(text: str) -> None:
    began = perf_counter()
    assert parse_dictionary(text) is None
    assert perf_counter() - began < 2
