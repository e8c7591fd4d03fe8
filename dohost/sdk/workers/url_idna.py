"""Hosts in letters beyond ASCII, as browsers send them to the name server (UTS #46, nontransitional).

Python's own codec knows the older rules, by which `faß.de` is `fass.de`: another site. The mapping is
compatibility and case folding of the interpreter's Unicode tables, which gives what the standard's table
says for each character that both know. A character newer than those tables makes no host, nor does a
host longer than DNS has room for.
"""

from __future__ import annotations

import re
import unicodedata

# Letters that the older rules changed: sharp s, final sigma, and two joiners.
_KEPT = frozenset("ßς\u200c\u200d")
_IGNORED = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2064\u206a-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0100-\U000e01ef]"
)
_DOTS = frozenset(".\u3002\uff0e\uff61")
# Signs that stand for no text of their own.
_SIGNS = re.compile("[\u2ff0-\u2fff\ufff9-\ufffd]")
# Unassigned, private, surrogates, controls, formats, and blanks.
_REFUSED = frozenset({"Cn", "Co", "Cs", "Cc", "Cf", "Zs", "Zl", "Zp"})
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_LAST_TO_LEFT = frozenset({"R", "AL", "EN", "AN"})
_TO_LEFT = _LAST_TO_LEFT | {"ES", "CS", "ET", "ON", "BN", "NSM"}
_VIRAMA = 9
# More octets than DNS has room for; punycode and normalization take the square of the length.
_CHARACTERS_MAX = 255


def to_ascii(host: str) -> str:
    """Return a host as ASCII, each label in its one spelling. Raises: ValueError."""
    if len(host) > _CHARACTERS_MAX:
        raise ValueError("longer than a name can be")
    labels = [_unicode_label(label) for label in _mapped(host).split(".")]
    return ".".join(map(_ascii_label, labels))


def _mapped(text: str) -> str:
    return unicodedata.normalize("NFC", "".join(map(_folded, _IGNORED.sub("", text))))


def _folded(character: str) -> str:
    if character < "\x80":
        return character.lower()
    if character in _KEPT:
        return character
    if character in _DOTS:
        return "."
    if character == "ẞ":
        return "ß"
    compatible = unicodedata.normalize("NFKC", character)
    if not _DOTS.isdisjoint(compatible):
        raise ValueError("a dot inside of a character")
    return unicodedata.normalize("NFKC", compatible.casefold())


def _ascii_label(label: str) -> str:
    return label if label.isascii() else f"xn--{label.encode('punycode').decode()}"


def _unicode_label(label: str) -> str:
    """Return a label as text, having checked it."""
    if not label.startswith("xn--"):
        _require_valid(label)
        return label
    text = label[4:].encode("ascii").decode("punycode")
    # Whoever writes punycode by hand must write what the mapping would have given.
    if text.isascii() or _mapped(text) != text or _ascii_label(text) != label:
        raise ValueError("punycode that nothing encodes to")
    _require_valid(text)
    return text


def _require_valid(label: str) -> None:
    if label.isascii():
        return
    if _SIGNS.search(label):
        raise ValueError("a sign that is no text")
    if unicodedata.category(label[0]).startswith("M"):
        raise ValueError("a label begins with a mark")
    for index, character in enumerate(label):
        if character in "\u200c\u200d":
            # A joiner means something only after a letter that a virama has bared.
            if index == 0 or unicodedata.combining(label[index - 1]) != _VIRAMA:
                raise ValueError("a joiner that joins nothing")
        elif unicodedata.category(character) in _REFUSED:
            raise ValueError(f"U+{ord(character):04X} can't be in a host")
    _require_one_direction(label)


def _require_one_direction(label: str) -> None:
    """Check the rule of RFC 5893 §2 for a label with letters that run to the left."""
    kinds = [unicodedata.bidirectional(character) for character in label]
    if _RIGHT_TO_LEFT.isdisjoint(kinds):
        return
    last = next(kind for kind in reversed(kinds) if kind != "NSM")
    is_good = kinds[0] in ("R", "AL") and last in _LAST_TO_LEFT and not {"EN", "AN"} <= set(kinds)
    if not is_good or not _TO_LEFT.issuperset(kinds):
        raise ValueError("a label that runs in two directions")
