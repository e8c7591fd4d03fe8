"""Hosts of URLs: the spellings of one address, and what is none. Expected values are those of Node 20."""

from __future__ import annotations

import pytest
from workers.request import Request
from workers.url import parse
from workers.url_host import parse_host

from dohost.errors import JsTypeError

HOSTS = [
    ("0x7f.1", "127.0.0.1"),
    ("127.1", "127.0.0.1"),
    ("017700000001", "127.0.0.1"),
    ("2130706433", "127.0.0.1"),
    ("0x7F000001", "127.0.0.1"),
    ("127.0.0.1", "127.0.0.1"),
    ("1.2.3", "1.2.0.3"),
    ("1.2.3.4.", "1.2.3.4"),
    ("0", "0.0.0.0"),
    ("0x", "0.0.0.0"),
    ("4294967295", "255.255.255.255"),
    ("\uff11\uff12\uff17.0.0.1", "127.0.0.1"),
    ("%31%32%37.1", "127.0.0.1"),
    ("1e2", "1e2"),
    ("1.a", "1.a"),
    ("A%41.b", "aa.b"),
    ("[::1]", "[::1]"),
    ("[0:0:0:0:0:0:0:0]", "[::]"),
    ("[1:0:0:4:0:0:0:8]", "[1:0:0:4::8]"),
    ("[0:0:2:3:4:5:6:7]", "[::2:3:4:5:6:7]"),
    ("[1:2:3:4:5:6:0:0]", "[1:2:3:4:5:6::]"),
    ("[1:0:3:4:5:6:7:8]", "[1:0:3:4:5:6:7:8]"),
    ("[10:0:0:0:0:0:0:100]", "[10::100]"),
    ("[1:0:0:2:3:0:0:4]", "[1::2:3:0:0:4]"),
    ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
]
NO_HOSTS = [
    "256.1.1.1",
    "1.2.3.4.5",
    "4294967296",
    "1.2.3.256",
    "1.2.65536",
    "09",
    "a.1",
    "a.0x1",
    "0x1g.1",
    "1..2",
    "a%00",
    "a%2fb",
    "%ff",
    "[1:2]",
    "[::1%25eth0]",
    "[::1",
]


@pytest.mark.parametrize(("written", "read"), HOSTS)
def test_an_address_has_one_spelling(written: str, read: str) -> None:
    assert parse(f"http://{written}:8080/x").href == f"http://{read}:8080/x"
    assert Request(f"http://{written}/x").url == f"http://{read}/x"
    assert parse_host(read) == read


@pytest.mark.parametrize("written", NO_HOSTS)
def test_what_is_no_host_makes_no_url(written: str) -> None:
    with pytest.raises(JsTypeError, match="Invalid URL"):
        parse(f"http://{written}/x")
    with pytest.raises(JsTypeError, match="Invalid URL"):
        Request(f"http://{written}/x")
