"""Text and bytes as JavaScript's globals convert them."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote, unquote

from dohost.errors import JsException, JsRangeError, JsTypeError
from workers.text_encodings import Decoder, decoder_of, encoding_named
from workers.usv_text import utf8
from workers.values import Uint8Array

_NO_WHITESPACE = dict.fromkeys(map(ord, " \t\n\f\r"))
_is_base64 = re.compile(r"[A-Za-z0-9+/]*").fullmatch
_bad_escape = re.compile(r"%(?![0-9A-Fa-f]{2})").search


class TextEncoder:
    """`TextEncoder.new().encode(text)`: always UTF-8."""

    encoding = "utf-8"

    @classmethod
    def new(cls) -> TextEncoder:
        return cls()

    def encode(self, text: str = "") -> Uint8Array:
        return Uint8Array(utf8(text))


class TextDecoder:
    """`TextDecoder.new(label, {"fatal": …}).decode(buffer)`; malformed bytes become U+FFFD unless fatal.

    With `{"stream": True}` a character may be cut between two calls; the last call is one without.
    """

    def __init__(self, label: str = "utf-8", options: dict[str, object] | None = None) -> None:
        encoding = encoding_named(label)
        if encoding is None:
            raise JsRangeError(f'"{label}" is not a valid encoding.')
        self.encoding = encoding
        self.fatal = bool((options or {}).get("fatal", False))
        self.ignoreBOM = bool((options or {}).get("ignoreBOM", False))
        self._decoder: Decoder | None = None
        self._is_begun = False

    @classmethod
    def new(cls, label: str = "utf-8", options: dict[str, object] | None = None) -> TextDecoder:
        return cls(label, options)

    def decode(
        self,
        buffer: bytes | bytearray | memoryview = b"",
        options: dict[str, object] | None = None,
    ) -> str:
        """Return the text of some bytes. Raises: JsTypeError for malformed ones if fatal."""
        is_last = not (options or {}).get("stream", False)
        if self._decoder is None:
            errors = "strict" if self.fatal else "replace"
            self._decoder = decoder_of(self.encoding, errors=errors)
            self._is_begun = False
        try:
            text = self._decoder.decode(bytes(buffer), is_last)
        except UnicodeDecodeError:
            self._decoder = None
            raise JsTypeError("Failed to decode input.") from None
        if text and not self._is_begun:
            self._is_begun = True
            if not self.ignoreBOM and self.encoding.startswith("utf-"):
                text = text.removeprefix("\ufeff")
        if is_last:
            self._decoder = None
        return text


def btoa(text: str) -> str:
    """Return base64 of text whose characters stand for bytes. Raises: JsException beyond U+00FF."""
    try:
        return base64.b64encode(text.encode("latin-1")).decode()
    except UnicodeEncodeError:
        raise JsException(
            "btoa() can only operate on characters in the Latin1 (ISO/IEC 8859-1) range.",
            name="InvalidCharacterError",
        ) from None


def atob(text: str) -> str:
    """Return what `btoa` encoded. Raises: JsException for what is no base64."""
    packed = text.translate(_NO_WHITESPACE)
    # Padding may be left out, but what there is must be right.
    if len(packed) % 4 == 0:
        packed = packed[:-2] + packed[-2:].rstrip("=")
    if len(packed) % 4 == 1 or not _is_base64(packed):
        raise JsException(
            "atob() called with invalid base64-encoded data.", name="InvalidCharacterError"
        )
    return base64.b64decode(packed + "=" * (-len(packed) % 4)).decode("latin-1")


def encodeURIComponent(text: object) -> str:
    """Escape text for a URL. Raises: JsException for a half of a character."""
    try:
        return quote(str(text), safe="!'()*")
    except UnicodeEncodeError:
        raise _malformed() from None


def decodeURIComponent(text: str) -> str:
    """Undo `encodeURIComponent`. Raises: JsException for malformed escapes, and what is not UTF-8."""
    if _bad_escape(text):
        raise _malformed()
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _malformed() from None


def _malformed() -> JsException:
    return JsException("URI malformed", name="URIError")
