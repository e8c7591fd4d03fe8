"""Structured fields (RFC 9651) as others write them: Dictionaries, with what we do not use left out.

A field that does not parse is no field at all, so every type is known here, also those whose values
nobody asks for. No expression gives back what it took ("*+"), so that a field costs its length.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_KEY = r"[a-z*][a-z0-9_.*-]*+"
_STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*+"'
_DISPLAY = r'%"(?:[ !#$&-~]|%[0-9a-f]{2})*+"'
_TOKEN = r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*+"
_NUMBER = r"-?(?:[0-9]{1,12}+\.[0-9]{1,3}+|[0-9]{1,15}+)(?![0-9.])"
_OTHER = rf"{_DISPLAY}|:[A-Za-z0-9+/]*+={{0,2}}:|@-?[0-9]{{1,15}}+(?![0-9.])|\?[01]"
_BARE = rf"(?:{_STRING}|{_TOKEN}|{_NUMBER}|{_OTHER})"
_PARAMETERS = rf"(?:; *+{_KEY}(?:={_BARE})?+)*+"
_ITEM = rf"{_BARE}{_PARAMETERS}"
_INNER = rf"\( *+(?:{_ITEM}(?: ++(?!\)){_ITEM}|(?=[ )]))*+)?+ *+\){_PARAMETERS}"
_member = re.compile(rf"({_KEY})(?:=(?:({_BARE}){_PARAMETERS}|{_INNER})|{_PARAMETERS})").match
_between = re.compile(r"[ \t]*+,[ \t]*+(?!\Z)").match
_escape = re.compile(r"\\(.)")
_display = re.compile(_DISPLAY)

# Of a String its text, of an Integer its number, of a Boolean itself; `None` for every other type.
Value = str | int | bool | None


def parse_dictionary(text: str) -> dict[str, Value] | None:
    """Return the members of a Dictionary, of equal keys the last; `None` for what is none."""
    members: dict[str, Value] = {}
    text = text.lstrip(" ").rstrip(" \t")
    position = 0
    while position < len(text):
        member = _member(text, position)
        if member is None or not _is_text(member[0]):
            return None
        members[member[1]] = True if member[0][len(member[1]) :][:1] != "=" else _value(member[2])
        position = member.end()
        if position < len(text):
            comma = _between(text, position)
            if comma is None:
                return None
            position = comma.end()
    return members


def _value(bare: str | None) -> Value:
    """Return the value of a bare item; an inner list has none."""
    if bare is None:
        return None
    if bare.startswith('"'):
        return _escape.sub(r"\1", bare[1:-1])
    if bare.startswith("?"):
        return bare == "?1"
    is_integer = bare.removeprefix("-").isdigit()
    return int(bare) if is_integer else None


def _is_text(member: str) -> bool:
    """Whether the Display Strings in a member are UTF-8."""
    try:
        for found in _display.findall(member):
            unquote_to_bytes(found).decode()
    except UnicodeDecodeError:
        return False
    return True
