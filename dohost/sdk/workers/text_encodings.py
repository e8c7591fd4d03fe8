"""Legacy encodings of text, by the labels of the WHATWG standard and no others.

Python knows many more codecs, among them some that are no text (`zlib`), and one (`utf-7`) that hides
markup from whoever checks the bytes; a label from outside must not reach them. Bytes to which a codec of
single bytes gives no character are C1 controls, as in browsers. Of the encodings of several bytes a few
rare characters differ; `replacement` and `x-user-defined` are left out.
"""

from __future__ import annotations

import codecs
from functools import cache
from typing import Protocol

# Name, Python's codec where it is called otherwise, and further labels.
_TABLE = """
    utf-8 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf8 x-unicode20utf8;
    ibm866=cp866 866 cp866 csibm866;
    iso-8859-2 csisolatin2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2;
    iso-8859-3 csisolatin3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3;
    iso-8859-4 csisolatin4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4;
    iso-8859-5 csisolatincyrillic cyrillic iso-ir-144 iso8859-5 iso88595 iso_8859-5
        iso_8859-5:1988;
    iso-8859-6 arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6-e
        iso-8859-6-i iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987;
    iso-8859-7 csisolatingreek ecma-118 elot_928 greek greek8 iso-ir-126 iso8859-7 iso88597
        iso_8859-7 iso_8859-7:1987 sun_eu_greek;
    iso-8859-8 csiso88598e csisolatinhebrew hebrew iso-8859-8-e iso-ir-138 iso8859-8 iso88598
        iso_8859-8 iso_8859-8:1988 visual;
    iso-8859-8-i=iso-8859-8 csiso88598i logical;
    iso-8859-10 csisolatin6 iso-ir-157 iso8859-10 iso885910 l6 latin6;
    iso-8859-13 iso8859-13 iso885913;
    iso-8859-14 iso8859-14 iso885914;
    iso-8859-15 csisolatin9 iso8859-15 iso885915 iso_8859-15 l9;
    koi8-r cskoi8r koi koi8 koi8_r;
    koi8-u koi8-ru;
    macintosh=mac_roman csmacintosh mac x-mac-roman;
    windows-874=cp874 dos-874 iso-8859-11 iso8859-11 iso885911 tis-620;
    windows-1250=cp1250 cp1250 x-cp1250;
    windows-1251=cp1251 cp1251 x-cp1251;
    windows-1252=cp1252 ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1
        iso-ir-100 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii x-cp1252;
    windows-1253=cp1253 cp1253 x-cp1253;
    windows-1254=cp1254 cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9
        iso_8859-9:1989 l5 latin5 x-cp1254;
    windows-1255=cp1255 cp1255 x-cp1255;
    windows-1256=cp1256 cp1256 x-cp1256;
    windows-1257=cp1257 cp1257 x-cp1257;
    windows-1258=cp1258 cp1258 x-cp1258;
    x-mac-cyrillic=mac_cyrillic x-mac-ukrainian;
    gbk=gb18030 chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 iso-ir-58 x-gbk;
    gb18030;
    big5=big5hkscs big5-hkscs cn-big5 csbig5 x-x-big5;
    euc-jp cseucpkdfmtjapanese x-euc-jp;
    iso-2022-jp csiso2022jp;
    shift_jis=cp932 csshiftjis ms932 ms_kanji shift-jis sjis windows-31j x-sjis;
    euc-kr=cp949 cseuckr csksc56011987 iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601
        ksc_5601 windows-949;
    utf-16be unicodefffe;
    utf-16le csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16;
    iso-8859-16;
"""
_WHITESPACE = " \t\n\f\r"
_SEVERAL_BYTES = frozenset(
    {"gbk", "gb18030", "big5", "euc-jp", "iso-2022-jp", "shift_jis", "euc-kr"}
)


class Decoder(Protocol):
    """Turns pieces of bytes into text; raises UnicodeDecodeError where it is strict."""

    def decode(self, input: bytes, final: bool = ..., /) -> str: ...


@cache
def _labels() -> dict[str, tuple[str, str]]:
    """Return the name and the codec of each label."""
    found: dict[str, tuple[str, str]] = {}
    for entry in _TABLE.split(";"):
        names = entry.split()
        if names:
            name, _, codec = names[0].partition("=")
            found |= dict.fromkeys([name, *names[1:]], (name, codec or name))
    return found


def encoding_named(label: str) -> str | None:
    """Return the name of the encoding that a label stands for, or None."""
    found = _labels().get(label.strip(_WHITESPACE).lower())
    return None if found is None else found[0]


def decoder_of(name: str, *, errors: str) -> Decoder:
    """Return a new decoder; `errors` is "strict" or "replace"."""
    codec = _labels()[name][1]
    if name.startswith("utf-") or name in _SEVERAL_BYTES:
        return codecs.getincrementaldecoder(codec)(errors)
    return _SingleBytes(name, _characters(codec), errors=errors)


@cache
def _characters(codec: str) -> str:
    """Return the 256 characters of an encoding of single bytes."""
    text = bytes(range(256)).decode(codec, "replace")
    pairs = enumerate(text)
    return "".join(chr(at) if c == "\ufffd" and 0x80 <= at < 0xA0 else c for at, c in pairs)


class _SingleBytes:
    def __init__(self, name: str, characters: str, *, errors: str) -> None:
        self._name = name
        self._table = dict(enumerate(characters))
        self._errors = errors

    def decode(self, input: bytes, final: bool = False, /) -> str:
        text = input.decode("latin-1").translate(self._table)
        if self._errors == "strict" and "\ufffd" in text:
            at = text.index("\ufffd")
            raise UnicodeDecodeError(self._name, input, at, at + 1, "no such character")
        return text
