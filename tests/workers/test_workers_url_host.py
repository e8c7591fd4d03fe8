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


# Where the codec of Python gave another site, or took what is no host. The last of `NO_NAMES` is our own rule:
# longer than DNS has room for.
NAMES = [
    ("faß.de", "xn--fa-hia.de"),
    ("ΒΌΛΟς.com", "xn--nxasmm1c.com"),
    ("ＭＡẞ｡com", "xn--ma-hia.com"),
    ("ᴹ.com", "m.com"),
    ("a\u00adb\u200b.com", "ab.com"),
    ("A\u030a.com", "xn--5ca.com"),
    ("😀.com", "xn--e28h.com"),
    ("א1.com", "xn--1-zhc.com"),
    ("_。א", "_.xn--4db"),
    ("क\u094d\u200d.com", "xn--11b6iy14e.com"),
    ("é.XN--FA-HIA", "xn--9ca.xn--fa-hia"),
    ("xn--a", "xn--a"),
]
NO_NAMES = [
    "a\u200db.com",
    "\u0301a.com",
    "aא.com",
    "1א.com",
    "㏂.com",
    "\ue000.com",
    "\u0378.com",
    "a\u3000b.com",
    "\ufffd.com",
    "é.xn--a",
    "é.xn--fa-hia-",
    "é.xn--FASS-",
    "a／b.com",
    "é" * 256,
]


@pytest.mark.parametrize(("written", "read"), NAMES)
def test_a_name_beyond_ascii_is_the_one_that_browsers_ask_for(written: str, read: str) -> None:
    assert parse_host(written) == read


@pytest.mark.parametrize("written", NO_NAMES)
def test_a_name_that_no_browser_would_ask_for_makes_no_url(written: str) -> None:
    with pytest.raises(JsTypeError, match="Invalid URL"):
        parse(f"http://{written}/")
