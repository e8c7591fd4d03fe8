"""The module `js` as worker code imports it: JavaScript's globals, with Python values behind them.

Objects are those of the `workers` package, so what `js.Response.new(…)` makes is a `workers.Response`. Not
here: caches, promises, underlying sources of `ReadableStream`, `crypto.subtle` but for `digest`,
typed arrays but for `Uint8Array`. Clock and randomness are read when a function is
called, never at import.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Awaitable, Iterable, Mapping
from datetime import UTC, datetime

import workers
from workers import ReadableStream, WebSocket, WebSocketPair
from workers.abort import AbortController, AbortSignal
from workers.blob import JsBlob
from workers.encoding import (
    TextDecoder,
    TextEncoder,
    atob,
    btoa,
    decodeURIComponent,
    encodeURIComponent,
)
from workers.raw_values import JsDate
from workers.rpc import Symbol
from workers.timers import clearInterval, clearTimeout, setInterval, setTimeout
from workers.url_object import URL, URLSearchParams
from workers.values import ArrayBuffer as _ArrayBuffer
from workers.values import JsDict, clone
from workers.values import Uint8Array as _Uint8Array
from workers.websocket import WebSocketRequestResponsePair

from dohost.clock import SystemClock, SystemEntropy
from dohost.errors import JsException, JsTypeError

__all__ = [
    "JSON",
    "URL",
    "AbortController",
    "AbortSignal",
    "Array",
    "ArrayBuffer",
    "Blob",
    "Date",
    "File",
    "FormData",
    "Headers",
    "Object",
    "ReadableStream",
    "Request",
    "Response",
    "Symbol",
    "TextDecoder",
    "TextEncoder",
    "TransformStream",
    "URLSearchParams",
    "Uint8Array",
    "WebSocket",
    "WebSocketPair",
    "WebSocketRequestResponsePair",
    "atob",
    "btoa",
    "clearInterval",
    "clearTimeout",
    "console",
    "crypto",
    "decodeURIComponent",
    "encodeURIComponent",
    "fetch",
    "performance",
    "setInterval",
    "setTimeout",
    "structuredClone",
]

Init = Mapping[str, object]
# JavaScript's names of options, and ours.
_PYTHON_NAMES = {"statusText": "status_text", "webSocket": "web_socket", "type": "content_type"}
_PYTHON_NAMES |= {"referrerPolicy": "referrer_policy", "lastModified": "last_modified"}


def _options(init: Init | None, named: Init) -> dict[str, object]:
    merged = {**(init or {}), **named}
    return {_PYTHON_NAMES.get(name, name): value for name, value in merged.items()}


def _json_text(value: object, indent: int | str | None = None) -> str:
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(value, separators=separators, ensure_ascii=False, indent=indent)


class Headers(workers.Headers):
    """`Headers.new(init)`; iterating yields pairs, as in JavaScript."""

    __slots__ = ()

    @classmethod
    def new(cls, init: object = None) -> Headers:
        return cls(init)

    def __iter__(self) -> Iterable[tuple[str, str]]:
        return self.entries()


class Request(workers.Request):
    """`Request.new(input, init)`."""

    __slots__ = ()

    @classmethod
    def new(cls, input: object, init: Init | None = None, **named: object) -> Request:
        return cls(input, **_options(init, named))


class Response(workers.Response):
    """`Response.new(body, init)`, `Response.json(data, init)`, `Response.redirect(url, status)`."""

    __slots__ = ()

    @classmethod
    def new(cls, body: object = None, init: Init | None = None, **named: object) -> Response:
        options = _options(init, named)
        names = ("status", "status_text", "headers", "web_socket")
        return cls(body, **{name: options[name] for name in names if name in options})


class FormData(workers.FormData):
    """`FormData.new()`."""

    __slots__ = ()

    @classmethod
    def new(cls) -> FormData:
        return cls()


class Blob(JsBlob):
    """`Blob.new(parts, {"type": …})`."""

    __slots__ = ()

    @classmethod
    def new(cls, parts: object = (), init: Init | None = None, **named: object) -> Blob:
        return cls(parts, **_options(init, named))


class File(workers.File):
    """`File.new(parts, name, {"type": …})`."""

    __slots__ = ()

    @classmethod
    def new(cls, parts: object, name: str, init: Init | None = None, **named: object) -> File:
        return cls(parts, name, **_options(init, named))


class TransformStream(workers.TransformStream):
    """`TransformStream.new()`: the identity transform only."""

    __slots__ = ()

    @classmethod
    def new(cls) -> TransformStream:
        return cls()


class Uint8Array(_Uint8Array):
    """`Uint8Array.new(length | bytes | iterable of ints)`."""

    @classmethod
    def new(cls, source: object = 0) -> Uint8Array:
        return cls(source)


class ArrayBuffer(_ArrayBuffer):
    """`ArrayBuffer.new(length)`: zero bytes that can't be changed here; write to a `Uint8Array`."""

    @classmethod
    def new(cls, length: int) -> ArrayBuffer:
        return cls(length)


class Array(list):
    """`Array.new(*items)`, `Array.from_(iterable)`, `Array.isArray(value)`."""

    @classmethod
    def new(cls, *items: object) -> Array:
        return cls(items)

    @classmethod
    def from_(cls, items: Iterable[object]) -> Array:
        return cls(items)

    @staticmethod
    def isArray(value: object) -> bool:
        return isinstance(value, list)


class Date(JsDate):
    """`Date.now()` in milliseconds, `Date.new(ms | text)`; a datetime in UTC besides."""

    @staticmethod
    def now() -> int:
        return SystemClock.realtime_ns() // 1_000_000

    @classmethod
    def new(cls, value: object = None) -> Date:
        match value:
            case None:
                return cls.from_ms(cls.now())
            case int() | float():
                return cls.from_ms(value)
            case str():
                moment = datetime.fromisoformat(value)
            case datetime():
                moment = value
            case _:
                raise JsTypeError(f"Invalid date: {value!r}")
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return cls.from_ms(moment.timestamp() * 1000)


class JSON:
    """`JSON.parse` and `JSON.stringify`."""

    @staticmethod
    def parse(text: str) -> object:
        try:
            return json.loads(text, object_hook=JsDict)
        except json.JSONDecodeError as error:
            raise JsException(str(error), name="SyntaxError") from error

    @staticmethod
    def stringify(value: object, replacer: None = None, space: int | str | None = None) -> str:
        return _json_text(value, space or None)


class Object:
    """`Object.fromEntries` and its relatives; objects are `JsDict`s."""

    @staticmethod
    def new() -> JsDict:
        return JsDict()

    @staticmethod
    def fromEntries(entries: Iterable[tuple[str, object]] | Mapping[str, object]) -> JsDict:
        return JsDict(entries)

    @staticmethod
    def keys(value: Mapping[str, object]) -> list[str]:
        return list(value)

    @staticmethod
    def values(value: Mapping[str, object]) -> list[object]:
        return list(value.values())

    @staticmethod
    def entries(value: Mapping[str, object]) -> list[list[object]]:
        return [[name, item] for name, item in value.items()]

    @staticmethod
    def assign(target: dict, *sources: Mapping[str, object]) -> dict:
        for source in sources:
            target.update(source)
        return target


class console:
    """Writes to standard output, and warnings and errors to standard error."""

    @staticmethod
    def log(*values: object) -> None:
        print(*values, file=sys.stdout)

    info = debug = log

    @staticmethod
    def error(*values: object) -> None:
        print(*values, file=sys.stderr)

    warn = error


_DIGESTS = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


class _Subtle:
    """`crypto.subtle.digest(algorithm, data)`."""

    async def digest(self, algorithm: str | Mapping[str, str], data: bytes) -> ArrayBuffer:
        name = algorithm if isinstance(algorithm, str) else algorithm["name"]
        known = _DIGESTS.get(name.upper())
        if known is None:
            raise JsException(f"Unrecognized name: {name}", name="NotSupportedError")
        return ArrayBuffer(hashlib.new(known, data).digest())


class crypto:
    """`crypto.getRandomValues`, `crypto.randomUUID`, `crypto.subtle.digest`."""

    subtle = _Subtle()

    @staticmethod
    def getRandomValues(array: bytearray) -> bytearray:
        """Fill `array` with random bytes and return it."""
        array[:] = SystemEntropy.token(len(array))
        return array

    @staticmethod
    def randomUUID() -> str:
        """Return a UUID version 4."""
        raw = bytearray(SystemEntropy.token(16))
        raw[6] = 0x40 | (raw[6] & 0x0F)
        raw[8] = 0x80 | (raw[8] & 0x3F)
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class performance:
    """`performance.now()` in milliseconds, on a clock that never goes back."""

    @staticmethod
    def now() -> float:
        return SystemClock.monotonic() * 1000


def structuredClone(value: object) -> object:
    """Return the copy of a value that a call would make; functions and platform objects are refused."""
    return clone(value)


def fetch(
    resource: object, init: Init | None = None, **named: object
) -> Awaitable[workers.Response]:
    """JavaScript's `fetch(resource, init)`."""
    target = resource if isinstance(resource, workers.Request) else str(resource)
    return workers.fetch(target, **_options(init, named))
