"""The body of a request or a response: bytes, text, a stream, or nothing; read once.

Content is kept as it was given (text is encoded only if somebody wants bytes) and nothing is copied or
parsed that nobody asks for. The rule of one reader is the Fetch standard's: the first read uses the body
up, and a second one raises `OSError("Body already used")`; no body at all can be read any number of
times and is empty. This file must not know whether it is part of a request or a response.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from dohost.errors import JsTypeError
from workers.blob import Blob, JsBlob
from workers.form_parser import parse_form
from workers.formdata import FormData
from workers.headers import Headers
from workers.streams import ReadableStream
from workers.url_object import URLSearchParams
from workers.usv_text import utf8, whole_text
from workers.values import ArrayBuffer, StreamMover, Transferable, Uint8Array

if TYPE_CHECKING:
    from workers.fetchtypes import Body

USED = "Body already used"
TEXT = "text/plain;charset=UTF-8"
FORM = "application/x-www-form-urlencoded;charset=UTF-8"
Content = str | bytes | ReadableStream | None


class BodyMixin(Transferable):
    """The Body mixin of the Fetch standard."""

    __slots__ = ("_content", "_is_used")

    _content: Content
    _is_used: bool

    @property
    def headers(self) -> Headers:
        """The header fields that go with this body; Request and Response each have their own."""
        raise AssertionError("a body belongs to a request or a response")

    @property
    def body(self) -> ReadableStream | None:
        """The body as a stream; None if there is none."""
        content = self._content
        if content is None or isinstance(content, ReadableStream):
            return content
        stream = ReadableStream.from_bytes(utf8(content) if isinstance(content, str) else content)
        stream.is_disturbed = self._is_used
        self._content = stream
        return stream

    @property
    def body_used(self) -> bool:
        """True once the body was read, even in part."""
        content = self._content
        return self._is_used or (isinstance(content, ReadableStream) and content.is_disturbed)

    async def bytes(self) -> builtins.bytes:
        """Read the body as bytes. Raises: OSError if it was used."""
        content = self._take()
        if isinstance(content, str):
            return utf8(content)
        if isinstance(content, ReadableStream):
            return await content.read_all()
        return b"" if content is None else content

    async def text(self) -> str:
        """Read the body as UTF-8; malformed bytes become U+FFFD. Raises: OSError if it was used."""
        content = self._take()
        if isinstance(content, str):
            return content if content.isascii() else whole_text(content)
        if isinstance(content, ReadableStream):
            content = await content.read_all()
        return "" if content is None else content.decode("utf-8", "replace").removeprefix("\ufeff")

    async def buffer(self) -> ArrayBuffer:
        """Read the body as a JavaScript buffer. Raises: OSError if it was used."""
        return ArrayBuffer(await self.bytes())

    async def blob(self) -> Blob:
        """Read the body as a Blob with its content type. Raises: OSError if it was used."""
        return Blob([await self.bytes()], self.headers.get("content-type"))

    async def form_data(self) -> FormData:
        """Read the body as a form. Raises: OSError if it was used, JsTypeError if it is no form."""
        content_type = self.headers.get("content-type") or ""
        return parse_form(await self.bytes(), content_type)

    async def _read_json(self, options: dict[str, object]) -> object:
        return json.loads(await self.text(), **options)  # type: ignore[arg-type]  # the caller's keywords

    def _take(self) -> Content:
        """Use the body up and return it."""
        content = self._content
        if content is None:
            return None
        if self._is_used or (isinstance(content, ReadableStream) and content.is_disturbed):
            raise OSError(USED)
        self._is_used = True
        return content

    def gate_body(self, gate: Callable[[ReadableStream], ReadableStream]) -> None:
        """Replace a streamed body by what `gate` makes of it; other bodies stay as they are."""
        if isinstance(self._content, ReadableStream):
            self._content = gate(self._content)

    def _move(self, streams: StreamMover) -> Content:
        """Use the body up and return it for the other side of a call; a stream is moved there."""
        content = self._take()
        return content.transfer(streams) if isinstance(content, ReadableStream) else content

    def _duplicate(self) -> Content:
        """Return the content for a clone; a stream is split in two. Raises: OSError if used."""
        if self.body_used:
            raise OSError(USED)
        content = self._content
        if isinstance(content, ReadableStream):
            self._content, content = content.tee()
        return content


def extract(body: Body) -> tuple[Content, str | None]:
    """Return the content of what user code gave as a body, and the content type that it implies."""
    match body:
        case None:
            return None, None
        case str():
            return body, TEXT
        case bytes():
            return body, None
        case ReadableStream():
            if body.locked or body.is_disturbed:
                raise JsTypeError("This ReadableStream is disturbed (has already been read from).")
            return body, None
        case FormData():
            return body.encode()
        case URLSearchParams():
            return body.toString(), FORM
        case JsBlob():
            return body._content, body.content_type or None
        case Uint8Array():
            return body.to_bytes(), None
        case _:
            raise TypeError(f"Unsupported type in Response: {type(body).__name__}")
