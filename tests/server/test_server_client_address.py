"""Whose word counts for who the client is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from server_loopback import echo, serving

from dohost.server.client_address import (
    forwarded_client,
    forwarded_hops,
    forwarded_scheme,
    parse_networks,
    plain_address,
)

TRUSTED = parse_networks(("10.0.0.0/8", "127.0.0.1"))


@pytest.mark.parametrize(
    ("listed", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("203.0.113.9, unknown", "10.0.0.1"),
        ("203.0.113.9:1234", "203.0.113.9"),
        ("[2001:db8::1]:99", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", "10.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy(listed: str, client: str) -> None:
    hops = forwarded_hops(CIMultiDict({"X-Forwarded-For": listed}), "x-forwarded-for")
    assert forwarded_client(hops, "10.0.0.1", trusted=TRUSTED) == client


def test_forwarded_is_read_element_by_element() -> None:
    fields = CIMultiDict({"Forwarded": 'for=6.6.6.6, for="[2001:db8::1]:1";proto=https'})
    hops = forwarded_hops(fields, "forwarded")
    assert forwarded_client(hops, "10.0.0.1", trusted=TRUSTED) == "2001:db8::1"
    assert forwarded_scheme(fields, "forwarded") == "https"
    assert forwarded_scheme(CIMultiDict({"X-Forwarded-Proto": "gopher"}), "x-forwarded-for") is None


@given(st.lists(st.text(max_size=20), max_size=5))
def test_whatever_a_client_writes_left_of_the_proxys_entry_changes_nothing(claims) -> None:
    listed = ",".join([*claims, "203.0.113.9"])
    hops = forwarded_hops(CIMultiDict({"X-Forwarded-For": listed}), "x-forwarded-for")
    assert forwarded_client(hops, "10.0.0.1", trusted=TRUSTED) == "203.0.113.9"


@given(st.ip_addresses(v=4), st.integers(1, 65535))
def test_an_address_is_the_same_with_and_without_port(address, port) -> None:
    assert plain_address(f"{address}:{port}") == plain_address(str(address)) == str(address)


SPOOFED = (
    "CF-Connecting-IP: 6.6.6.6",
    "x-real-ip: 6.6.6.6",
    "True-Client-IP: 6.6.6.6",
    "CF-IPCountry: XX",
    "X-Forwarded-For: 203.0.113.9",
    "X-Forwarded-Proto: https",
    "Forwarded: for=6.6.6.6",
)


async def test_no_field_of_a_client_survives_that_could_name_another() -> None:
    async with serving(echo) as server:
        answer = await server.get("/", *SPOOFED)
        assert "6.6.6.6" not in answer["x-fields"]
        assert "203.0.113.9" not in answer["x-fields"]
        assert "('cf-connecting-ip', '127.0.0.1')" in answer["x-fields"]
        assert "('x-real-ip', '127.0.0.1')" in answer["x-fields"]
        assert answer["x-url"] == "http://t/"


async def test_a_trusted_proxys_own_field_is_believed_and_the_other_is_not() -> None:
    async with serving(echo, trusted_proxies=("127.0.0.0/8",)) as server:
        answer = await server.get("/", *SPOOFED)
        assert "('cf-connecting-ip', '203.0.113.9')" in answer["x-fields"]
        assert "('x-real-ip', '203.0.113.9')" in answer["x-fields"]
        assert answer["x-url"] == "https://t/"


def test_a_malformed_proxy_is_named() -> None:
    with pytest.raises(ValueError, match="ten"):
        parse_networks(("ten",))
