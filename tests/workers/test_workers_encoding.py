"""Text and bytes as JavaScript's globals convert them. Expected values are those of workerd."""

from __future__ import annotations

import pytest
from workers.encoding import TextDecoder, TextEncoder, atob, decodeURIComponent, encodeURIComponent

from dohost.errors import JsException, JsRangeError, JsTypeError

# A byte of each kind: a letter, two that ISO 8859-1 has as controls, two letters beyond ASCII.
BYTES = b"A\x80\x9f\xa4\xe9"


@pytest.mark.parametrize(
    ("label", "name", "text"),
    [
        (" UTF8\n", "utf-8", "A\ufffd\ufffd\ufffd\ufffd"),
        ("latin1", "windows-1252", "A€Ÿ¤é"),
        ("ascii", "windows-1252", "A€Ÿ¤é"),
        ("iso-8859-2", "iso-8859-2", "A\x80\x9f¤é"),
        ("iso-8859-8-i", "iso-8859-8-i", "A\x80\x9f¤י"),
        ("tis-620", "windows-874", "A€\x9fค้"),
        ("x-mac-cyrillic", "x-mac-cyrillic", "AАЯ§й"),
        ("ucs-2", "utf-16le", "聁꒟\ufffd"),
        ("utf-16be", "utf-16be", "䆀龤\ufffd"),
        ("koi8", "koi8-r", "A─÷╓И"),
    ],
)
def test_labels_stand_for_the_encodings_that_browsers_know(
    label: str, name: str, text: str
) -> None:
    decoder = TextDecoder(label)
    assert (decoder.encoding, decoder.decode(BYTES)) == (name, text)


@pytest.mark.parametrize(
    ("label", "data", "text"),
    [
        ("shift_jis", b"\x93\xfa", "日"),
        ("euc-jp", b"\xc6\xfc", "日"),
        ("iso-2022-jp", b"\x1b$BF|\x1b(B", "日"),
        ("gb2312", b"\xc8\xd5", "日"),
        ("big5", b"\xa4\xe9", "日"),
        ("ks_c_5601-1987", b"\xec\xed", "日"),
    ],
)
def test_encodings_of_several_bytes_are_known(label: str, data: bytes, text: str) -> None:
    assert TextDecoder(label).decode(data) == text
    decoder = TextDecoder(label)
    pieces = [decoder.decode(data[at : at + 1], {"stream": True}) for at in range(len(data))]
    assert "".join(pieces) + decoder.decode() == text


@pytest.mark.parametrize(
    "label",
    [
        *("utf-7", "utf-32", "utf_8", "utf-8-sig", "zlib", "hex", "rot13", "idna", "undefined"),
        *("unicode_escape", "cp437", "hz-gb-2312", "utf-8\0", "", "nope"),
    ],
)
def test_a_codec_that_only_python_knows_is_no_encoding(label: str) -> None:
    with pytest.raises(JsRangeError, match="is not a valid encoding"):
        TextDecoder(label)


def test_a_character_may_be_cut_between_two_pieces_of_a_stream() -> None:
    decoder = TextDecoder("utf-8")
    stream = {"stream": True}
    assert decoder.decode(b"\xef\xbb", stream) == ""
    assert decoder.decode(b"\xbf\xe2\x82", stream) == ""
    assert decoder.decode(b"\xac\xef\xbb\xbf\xe2", stream) == "€\ufeff"
    assert decoder.decode() == "\ufffd"
    assert decoder.decode(b"\xef\xbb\xbfa") == "a"


def test_a_byte_order_mark_is_kept_on_request() -> None:
    assert TextDecoder("utf-8", {"ignoreBOM": True}).decode(b"\xef\xbb\xbfa") == "\ufeffa"
    assert TextDecoder("utf-8").decode(b"\xef\xbb\xbf\xef\xbb\xbfa") == "\ufeffa"


@pytest.mark.parametrize(
    ("label", "data"), [("utf-8", b"a\xff"), ("utf-8", b"\xe2\x82"), ("iso-8859-6", b"a\xff")]
)
def test_a_fatal_decoder_refuses_malformed_bytes_and_goes_on(label: str, data: bytes) -> None:
    decoder = TextDecoder(label, {"fatal": True})
    with pytest.raises(JsTypeError, match="Failed to decode input"):
        decoder.decode(data)
    assert decoder.decode(b"a") == "a"


@pytest.mark.parametrize("text", ["YQ=", "Y", "=", "YQ==YQ==", "abcd=", "abc=d", "-_", "é", "YQ\v"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(JsException, match="InvalidCharacterError"):
        atob(text)


def test_base64_may_lack_its_padding_and_have_blanks() -> None:
    assert [atob(text) for text in ("", "YQ", "Y\fQ = =\r", "YR==", "YWI=", "////")] == [
        *("", "a", "a", "a", "ab"),
        "\xff\xff\xff",
    ]


@pytest.mark.parametrize("text", ["%", "%4", "%zz", "%C3", "%c0%af", "%ED%A0%80", "a%E2%82"])
def test_a_malformed_component_is_refused(text: str) -> None:
    with pytest.raises(JsException, match="URIError: URI malformed"):
        decodeURIComponent(text)


def test_half_of_a_character_is_encoded_as_the_replacement_character() -> None:
    assert bytes(TextEncoder.new().encode("a\ud800b")) == b"a\xef\xbf\xbdb"


def test_half_of_a_character_has_no_escape() -> None:
    with pytest.raises(JsException, match="URIError: URI malformed"):
        encodeURIComponent("\ud800")
