"""Text as other programs may have it: JavaScript's and Python's strings can hold halves of characters, UTF-8 can't.

Wherever text leaves, as a body, in a URL or a form, each half becomes U+FFFD (a *USVString* in the standards).
"""

from __future__ import annotations

import re

_halves = re.compile(r"[\ud800-\udfff]")


def whole_text(text: str) -> str:
    """Replace halves of characters, which no encoding can carry."""
    return _halves.sub("\ufffd", text)


def utf8(text: str) -> bytes:
    """Return the bytes of whole text."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return whole_text(text).encode()
