"""Forms as hostile and careless clients write them; the verdicts are workerd's unless said otherwise."""

from __future__ import annotations

import pytest
from workers import Blob, File, FormData
from workers.form_parser import mime_parameters, parse_form

from dohost.errors import JsTypeError

KIND = "multipart/form-data; boundary=B"
A = b'Content-Disposition: form-data; name="a"\r\n\r\nv'


def read(body: bytes, kind: str = KIND) -> list[tuple[str, object]]:
    """Return the fields; a file as its name, type and bytes."""
    return [
        (name, (value.name, value.type, value._content) if isinstance(value, File) else value)
        for name, value in parse_form(body, kind).items()
    ]


def one(disposition: bytes, more: bytes = b"") -> bytes:
    """Return a form of one part."""
    return b"--B\r\nContent-Disposition: " + disposition + b"\r\n" + more + b"\r\nv\r\n--B--\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"--B\r\n" + A + b"\r\n--B--",
        b"--B\n" + A.replace(b"\r\n", b"\n") + b"\n--B--\n",
        b"preamble\r\n--B\r\n" + A + b"\r\n--B--\r\nepilogue",
        b"preamble--B\r\n" + A + b"\r\n--B--",
        b"--B \t\r\n" + A + b"\r\n--B--",
    ],
)
def test_line_ends_and_what_is_around_the_parts_do_not_matter(body: bytes) -> None:
    assert read(body) == [("a", "v")]


def test_content_may_begin_like_a_delimiter() -> None:
    assert read(one(b'form-data; name="a"').replace(b"v", b"--B\r\n")) == [("a", "--B\r\n")]


def test_a_part_ends_at_a_line_with_the_boundary_however_that_line_begins() -> None:
    b = b'Content-Disposition: form-data; name="b"\r\n\r\n-B-'
    assert read(b"--B\r\n" + A + b"\n--B\r\n" + b + b"\r\r\n--B--") == [("a", "v"), ("b", "-B-\r")]


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        (b"form-data; name=a", ("a", "v")),
        (b'form-data;name="a;b"; x="; name=evil"', ("a;b", "v")),
        (b'form-data; name="a%22%0D%0Ab\\"', ('a"\r\nb\\', "v")),
        (b'form-data; xname="x"; name="a";', ("a", "v")),
        ('form-data; name="é"'.encode(), ("é", "v")),
        (b'form-data; name="a"; filename="f"', ("a", ("f", "", b"v"))),
        (b'form-data; filename="C:\\f"; name="a"', ("a", ("C:\\f", "", b"v"))),
        (b'form-data; name="a"; filename=""', ("a", "v")),
        (b"form-data; name=\"a\"; filename*=UTF-8''f", ("a", "v")),
    ],
)
def test_a_part_says_what_it_is(disposition: bytes, expected: tuple[str, object]) -> None:
    assert read(one(disposition)) == [expected]


@pytest.mark.parametrize(
    "disposition",
    [
        b'attachment; name="a"',
        b'; name="a"',
        b'form-data name="a"',
        b'form-data; name="a',
        b'form-data; name="a\\"b"',
        b'form-data; name="a"b',
        b"form-data; name=a b",
        b'form-data; x="a\\"; name=evil; y="; name="a"',
        b'form-data; name="a\rb"',
        b'form-data; name="a\nb"',
        b'form-data;\r\n name="a"',
        b"form-data; filename=f",
    ],
)
def test_a_part_that_could_be_read_in_two_ways_is_refused(disposition: bytes) -> None:
    with pytest.raises(JsTypeError):
        read(one(disposition))


@pytest.mark.parametrize("line", [b"garbage\r\n", b"X : y\r\n", b" X: y\r\n", b"X: y\rz\r\n"])
def test_a_line_of_a_part_that_is_no_field_is_refused(line: bytes) -> None:
    with pytest.raises(JsTypeError, match="invalid headers"):
        read(one(b'form-data; name="a"', line))


def test_of_two_equal_fields_of_a_part_the_first_counts() -> None:
    twice = b'content-disposition:form-data; name="b"\r\nContent-Type:a/b \r\nContent-Type: c/d\r\n'
    assert read(one(b'form-data; name="a"; filename="f"', twice)) == [("a", ("f", "a/b", b"v"))]


@pytest.mark.parametrize(
    ("field", "boundary"),
    [
        ("x; boundary=B; boundary=C", "B"),
        ('x; BOUNDARY="\\B"', "B"),
        ("x; boundary=a b ;", "a b"),
        ('x; y="; boundary=C"; boundary=B', "B"),
        ('x; boundary="B" junk', "B"),
        ("x; boundary =B", None),
        ("x; boundary=", None),
        ('x; boundary=""; boundary=B', "B"),
        ("x; xboundary=C", None),
        ("x", None),
    ],
)
def test_the_boundary_is_the_one_that_browsers_see(field: str, boundary: str | None) -> None:
    assert mime_parameters(field).get("boundary") == boundary


def test_ten_thousand_fields_are_read_and_one_more_is_refused() -> None:
    part = b"--B\r\n" + A + b"\r\n"
    assert len(read(part * 10_000 + b"--B--")) == 10_000
    with pytest.raises(JsTypeError, match="10000 fields"):
        read(part * 1_000_000 + b"--B--")


def test_what_a_form_writes_it_reads() -> None:
    form = FormData({"a": "v\r\n--B\n"})
    form.append("f", File([b"\r\n"], "n", "a/b"))
    assert read(*form.encode()) == [("a", "v\r\n--B\n"), ("f", ("n", "a/b", b"\r\n"))]


@pytest.mark.parametrize("wrong", ["a/b\r\nX: y", "é/x", "a\0", "a\x7f"])
def test_a_type_that_could_break_the_header_of_a_part_is_no_type(wrong: str) -> None:
    assert Blob("x", wrong).type == Blob("x").slice(0, 1, wrong).type == ""
    form = FormData()
    form.append("f", File("x", "n", wrong))
    assert b"\r\nX: y" not in form.encode()[0]
