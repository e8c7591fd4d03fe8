"""Blob and File: immutable bytes with a content type, and with a name.

Both hold their bytes in memory and are shared, never copied. This file must not know about forms.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable
from typing import Literal

from workers.usv_text import utf8
from workers.values import ArrayBuffer, StreamMover, Transferable

BlobEnding = Literal["transparent", "native"]
_is_plain = re.compile(r"[ -~]*").fullmatch


class Blob(Transferable):
    """Immutable bytes with a content type.

    `endings="native"` turns CRLF and CR of text parts into LF, the native ending on Cloudflare.
    """

    __slots__ = ("_content", "content_type")

    def __init__(
        self,
        parts: Iterable[BlobValue] | BlobValue,
        content_type: str | None = None,
        endings: BlobEnding | None = None,
    ) -> None:
        if isinstance(parts, (str, bytes, memoryview, Blob)):
            parts = [parts]
        self._content = b"".join([_octets(part, endings) for part in parts])
        kind = content_type or ""
        # By the standard, a type that could break the header of a form's part is no type.
        self.content_type = kind.lower() if _is_plain(kind) else ""

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self._content)

    @property
    def type(self) -> str:
        """JavaScript's name for `content_type`."""
        return self.content_type

    @property
    def js_object(self) -> JsBlob:
        """The form of this blob that a Response takes as its body."""
        return JsBlob([self._content], self.content_type)

    async def text(self) -> str:
        """Return the content as UTF-8; malformed bytes become U+FFFD."""
        return self._content.decode("utf-8", "replace")

    async def bytes(self) -> builtins.bytes:
        return self._content

    async def arrayBuffer(self) -> ArrayBuffer:
        return ArrayBuffer(self._content)

    def slice(
        self, start: int | None = None, end: int | None = None, content_type: str | None = None
    ) -> Blob:
        """Return the bytes from `start` to `end`, counted as in a Python slice."""
        return Blob([self._content[start:end]], content_type)

    def transfer(self, streams: StreamMover) -> Blob:
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, content_type={self.content_type!r})"


class JsBlob(Blob):
    """A blob that stands for JavaScript's: Cloudflare's `Response` takes it and refuses a `Blob`."""

    __slots__ = ()


class File(Blob):
    """A Blob with a name and the time of its last change in milliseconds."""

    __slots__ = ("last_modified", "name")

    def __init__(
        self,
        parts: Iterable[BlobValue] | BlobValue,
        filename: str,
        content_type: str | None = None,
        endings: BlobEnding | None = None,
        last_modified: int | None = None,
    ) -> None:
        super().__init__(parts, content_type, endings)
        self.name = filename
        # Without a time given JavaScript takes the current one; here that would read a hidden clock.
        self.last_modified = 0 if last_modified is None else last_modified


BlobValue = str | bytes | memoryview | Blob


def _octets(part: BlobValue, endings: BlobEnding | None) -> bytes:
    match part:
        case Blob():
            return part._content
        case str():
            is_native = endings == "native"
            text = part.replace("\r\n", "\n").replace("\r", "\n") if is_native else part
            return utf8(text)
        case bytes() | memoryview():
            return bytes(part)
        case _:
            raise TypeError(f"Unsupported type in Blob: {type(part).__name__}")
