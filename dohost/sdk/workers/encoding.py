"""Text and bytes as JavaScript's globals convert them."""

from __future__ import annotations

import base64
import binascii
import codecs
from urllib.parse import quote, unquote

from dohost.errors import JsException, JsRangeError, JsTypeError
from workers.values import Uint8Array


class TextEncoder:
    """`TextEncoder.new().encode(text)`: always UTF-8."""

    encoding = "utf-8"

    @classmethod
    def new(cls) -> TextEncoder:
        return cls()

    def encode(self, text: str = "") -> Uint8Array:
        return Uint8Array(text.encode("utf-8", "replace"))


class TextDecoder:
    """`TextDecoder.new(label, {"fatal": …}).decode(buffer)`; malformed bytes become U+FFFD unless fatal."""

    def __init__(self, label: str = "utf-8", options: dict[str, object] | None = None) -> None:
        try:
            self.encoding = codecs.lookup(label).name
        except LookupError:
            raise JsRangeError(f'"{label}" is not a valid encoding.') from None
        self.fatal = bool((options or {}).get("fatal", False))

    @classmethod
    def new(cls, label: str = "utf-8", options: dict[str, object] | None = None) -> TextDecoder:
        return cls(label, options)

    def decode(self, buffer: bytes | bytearray | memoryview = b"") -> str:
        try:
            text = bytes(buffer).decode(self.encoding, "strict" if self.fatal else "replace")
        except UnicodeDecodeError:
            raise JsTypeError("Failed to decode input.") from None
        return text.removeprefix("\ufeff")


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
    packed = "".join(text.split())
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode("latin-1")
    except binascii.Error:
        raise JsException(
            "atob() called with invalid base64-encoded data.", name="InvalidCharacterError"
        ) from None


def encodeURIComponent(text: object) -> str:
    return quote(str(text), safe="!'()*")


def decodeURIComponent(text: str) -> str:
    return unquote(text, errors="strict")
