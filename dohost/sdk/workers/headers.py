"""Header fields as Worker code sees them.

On Cloudflare a request's headers are an `http.client.HTTPMessage` filled from a JavaScript `Headers`
object: names compare without case and come out in lower case and sorted, a missing field reads as None,
repeated fields are joined by ", ", and only `set-cookie` keeps its lines apart. `Headers` is both faces
in one class; item assignment does not exist, because on Cloudflare it would change a copy only.

Invariant: no name that isn't a token and no value with CR, LF or NUL gets in through the public
constructor or a mutator, so a handler cannot be talked into splitting a response.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar, overload

from dohost.errors import JsTypeError
from workers.values import StreamMover, Transferable

Default = TypeVar("Default")
Pairs = list[tuple[str, str]]

_is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_finds_control = re.compile(r"[\r\n\0]").search
_BLANK = " \t\r\n"
_COMMON = (
    "Accept Accept-Encoding Accept-Language Accept-Ranges Access-Control-Allow-Credentials "
    "Access-Control-Allow-Origin Access-Control-Expose-Headers Access-Control-Request-Headers "
    "Access-Control-Request-Method Age Allow API-Version Authorization Cache-Control "
    "Cache-Group-Invalidation Cache-Groups Cache-Status CDN-Cache-Control CF-Connecting-IP Connection "
    "Content-Disposition Content-Encoding Content-Language Content-Length Content-Location Content-Range "
    "Content-Security-Policy Content-Type Cookie Date Deprecation DNT ETag Expect Expires Forwarded From "
    "Host Idempotency-Key If-Match If-Modified-Since If-None-Match If-Range If-Unmodified-Since "
    "Last-Modified Link Location Origin Permissions-Policy Pragma Priority Range RateLimit "
    "RateLimit-Policy Referer Referrer-Policy Retry-After Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform "
    "Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Server Server-Timing Set-Cookie "
    "Strict-Transport-Security Sunset TE Traceparent Tracestate Trailer Transfer-Encoding Upgrade "
    "Upgrade-Insecure-Requests User-Agent Vary Via Warning WWW-Authenticate X-Accel-Buffering X-API-Key "
    "X-Content-Type-Options X-Forwarded-For X-Forwarded-Host X-Forwarded-Prefix X-Forwarded-Proto "
    "X-Frame-Options X-Gateway-Context X-RateLimit-Limit X-RateLimit-Remaining X-RateLimit-Reset "
    "X-Real-IP X-Request-ID X-Request-Id X-Requested-With X-Tenant-ID X-Tier"
)
_KNOWN = {name: name.lower() for each in _COMMON.split() for name in (each, each.lower())}
# The same for the constructors' short cuts, which leave cookies to the careful path.
_KNOWN_ONCE = {name: key for name, key in _KNOWN.items() if key != "set-cookie"}
_KNOWN_RAW: dict[bytes | str, tuple[str, str]] = {
    name.encode(): (name, key) for name, key in _KNOWN_ONCE.items()
}


class HasItems(Protocol):
    """A multi-valued mapping of header fields, as HTTP servers keep it."""

    def items(self) -> Iterable[tuple[str, str]]: ...


class Headers(Transferable):
    """Header fields: case-insensitive, one value per name but for `set-cookie`."""

    __slots__ = ("_cookies", "_fields", "_is_immutable", "_sorted")

    def __init__(self, init: HeadersInit | None = None) -> None:
        self._fields: dict[str, tuple[str, str]] = {}
        self._cookies: Pairs = []
        self._is_immutable = False
        # What `items` of immutable headers found.
        self._sorted: Pairs | None = None
        if init is None:
            return
        if type(init) is Headers:
            self._fields = init._fields.copy()
            self._cookies = init._cookies.copy()
            return
        fields = _plain(init)
        if fields is not None:
            self._fields = fields
            return
        for pair in _pairs(init):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError("headers given as a list need (name, value) pairs")
            self.append(pair[0], pair[1])

    @classmethod
    def from_host(cls, raw: HasItems | Iterable[tuple[bytes, bytes] | tuple[str, str]]) -> Headers:
        """Build immutable headers from fields that an HTTP parser has checked already."""
        if type(raw) is ReceivedFields:
            return raw.headers()
        headers = cls()
        fields = headers._fields
        # A mapping's items() or the pairs themselves; both are cheap to walk once.
        pairs: Iterable[tuple[bytes | str, bytes | str]]
        pairs = raw.items() if hasattr(raw, "items") else raw
        for raw_name, raw_value in pairs:
            value = raw_value if isinstance(raw_value, str) else raw_value.decode("latin-1")
            known = _KNOWN_RAW.get(raw_name)
            if known is not None:
                name, key = known
            else:
                name = raw_name if isinstance(raw_name, str) else raw_name.decode("latin-1")
                key = name.lower()
            if key == "set-cookie":
                headers._cookies.append((name, value))
            elif key in fields:
                fields[key] = (name, f"{fields[key][1]}, {value}")
            else:
                fields[key] = (name, value)
        headers._is_immutable = True
        return headers

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: Default) -> str | Default: ...
    def get(self, name: str, default: object = None) -> object:
        """Return the field's value, or `default`; cookies are joined by ", "."""
        key = name.lower()
        field = self._fields.get(key)
        if field is not None:
            return field[1]
        if key == "set-cookie" and self._cookies:
            return ", ".join(value for _, value in self._cookies)
        return default

    def get_all(self, name: str, default: Default | None = None) -> list[str] | Default | None:
        """Return every value of the field as a list, or `default` if there is none."""
        if name.lower() == "set-cookie":
            return [value for _, value in self._cookies] or default
        value = self.get(name)
        return default if value is None else [value]

    def getSetCookie(self) -> list[str]:
        return [value for _, value in self._cookies]

    def has(self, name: str) -> bool:
        return self.get(name) is not None

    def append(self, name: str, value: str) -> None:
        """Add a value to a field, joined to the one it has."""
        key, text = self._checked(name, value)
        fields = self._fields
        if key == "set-cookie":
            self._cookies.append((name, text))
        elif key in fields:
            first = fields[key]
            fields[key] = (first[0], f"{first[1]}, {text}")
        else:
            fields[key] = (name, text)

    def set(self, name: str, value: str) -> None:
        """Replace every value of a field."""
        key, text = self._checked(name, value)
        if key == "set-cookie":
            self._cookies = [(name, text)]
        else:
            self._fields[key] = (name, text)

    def delete(self, name: str) -> None:
        """Remove a field; nothing happens if it is not there."""
        self._require_mutable()
        key = name.lower()
        if key == "set-cookie":
            self._cookies = []
        else:
            self._fields.pop(key, None)

    def items(self) -> Pairs:
        """Return (lower-case name, value) pairs, sorted by name; each cookie on its own."""
        if self._sorted is not None:
            return self._sorted.copy()
        fields = self._fields
        pairs = [(key, fields[key][1]) for key in sorted(fields)]
        if self._cookies:
            pairs += [("set-cookie", value) for _, value in self._cookies]
            pairs.sort(key=lambda pair: pair[0])
        if self._is_immutable:
            self._sorted = pairs.copy()
        return pairs

    def keys(self) -> list[str]:
        return [name for name, _ in self.items()]

    def values(self) -> list[str]:
        return [value for _, value in self.items()]

    def entries(self) -> Iterator[tuple[str, str]]:
        return iter(self.items())

    def forEach(self, callback: Callable[[str, str, Headers], object]) -> None:
        for name, value in self.items():
            callback(value, name, self)

    def raw_items(self) -> Pairs:
        """Return the pairs to put on the wire, names as they were written, in order."""
        if not self._cookies:
            return list(self._fields.values())
        return [*self._fields.values(), *self._cookies]

    def transfer(self, streams: StreamMover) -> Headers:
        return self.copy()

    def copy(self) -> Headers:
        """Return mutable headers with the same fields."""
        twin = Headers()
        twin._fields = self._fields.copy()
        twin._cookies = self._cookies.copy()
        return twin

    def __getitem__(self, name: str) -> str | None:
        return self.get(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.has(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._fields) + len(self._cookies)

    def __eq__(self, other: object) -> bool:
        return self.items() == other.items() if isinstance(other, Headers) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable, so not hashable

    def __repr__(self) -> str:
        return f"Headers({self.items()!r})"

    def _checked(self, name: str, value: str) -> tuple[str, str]:
        if self._is_immutable:
            self._require_mutable()
        # Nearly every field has a known name and a printable value; the rest is looked at closely.
        key = _KNOWN.get(name)
        if key is not None and type(value) is str and value.isascii() and value.isprintable():
            return key, value.strip(" ")
        text = (value if type(value) is str else str(value)).strip(_BLANK)
        if not isinstance(name, str) or _is_token(name) is None:
            raise JsTypeError(f"Invalid header name: {name!r}.")
        if _finds_control(text):
            raise JsTypeError(f"Invalid header value: {text!r}.")
        return name.lower(), text

    def _require_mutable(self) -> None:
        if self._is_immutable:
            raise JsTypeError("Can't modify immutable headers.")


class ReceivedFields:
    """A message's fields as an HTTP parser read them, for every message that has the same.

    They are made into headers once, by the first that looks at them; those are immutable.
    """

    __slots__ = ("_headers", "_raw")

    def __init__(self, raw: tuple[tuple[bytes, bytes], ...]) -> None:
        self._raw = raw
        self._headers: Headers | None = None

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._raw)

    def headers(self) -> Headers:
        """Return the headers of all these messages."""
        if self._headers is None:
            self._headers = Headers.from_host(self._raw)
        return self._headers


HeadersInit = Headers | Mapping[str, str] | list[tuple[str, str]]


def _pairs(init: HeadersInit) -> Pairs:
    match init:
        case list():
            return init
        case Headers():
            return init.raw_items()
        case Mapping():
            return list(init.items())
        case tuple():
            return list(init)
        case _:
            raise TypeError(f"Invalid type for headers: {type(init).__name__}")


def _plain_fields(
    names: Iterable[str], values: Collection[str], pairs: Collection[tuple[str, str]]
) -> dict[str, tuple[str, str]] | None:
    """Return the fields if every name is a common one that comes once and every value is plain.

    One look at all values together instead of one call for each; nearly every message is like that.
    """
    try:
        text = "|".join(values)
        fields = dict(zip(map(_KNOWN_ONCE.get, names), pairs, strict=True))
    except (TypeError, ValueError):
        return None
    if None in fields or len(fields) != len(pairs):
        return None
    # Blanks at either end of a value are not a part of it.
    if not text.isascii() or "\n" in text or "\r" in text or "\0" in text or "\t" in text:
        return None
    if "| " in text or " |" in text or text[:1] == " " or text[-1:] == " ":
        return None
    return fields  # type: ignore[return-value]  # None is not among the keys


def _plain(init: HeadersInit) -> dict[str, tuple[str, str]] | None:
    if type(init) is dict:
        return _plain_fields(init, init.values(), init.items())
    if type(init) is list and init and list not in map(type, init):
        try:
            names, values = zip(*init, strict=True)
        except (TypeError, ValueError):
            return None
        return _plain_fields(names, values, init)
    return None
