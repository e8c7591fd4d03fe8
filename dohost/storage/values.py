"""The readable encoding of stored values: JSON wherever JSON holds the value exactly.

`encode` gives the text that a person sees in `sqlite3 FILE 'select * from _cf_KV'`, `decode` gives back
what Cloudflare would: a fresh copy, with dicts as `JsDict` and bytes as `memoryview`. What JSON can't say
is a dict with one tag: {"$bytes": base64}, {"$date": ms}, {"$set": [...]}, {"$bigint": "..."},
{"$number": "NaN" | "Infinity" | "-Infinity"}, {"$error": message}. A container that occurs more than once
in its value (an alias or a cycle) is {"$object": n, "$is": ...} where it occurs first and {"$same": n}
after that. A key of user data that begins with "$" is written with one "$" more.

Two passes: values that JSON holds leave by a fast check and one call of msgspec; everything else is
copied by `workers.values.clone`, the one rule about what may be stored, and then written with tags.
Values that wrangler wrote (BLOBs that begin with FF) are read by `v8`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
from workers.values import (
    SAFE_INTEGER_MAX,
    STORAGE_REFUSAL,
    JsBigInt,
    JsDict,
    clone,
    clone_sized,
)

from dohost.errors import DataCloneError, JsException, JsRangeError
from dohost.storage.connection import SQLiteValue
from dohost.storage.v8 import decode_v8

DEPTH_MAX = 64
_EPOCH = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_to_json: Callable[[object], bytes] = msgspec.json.Encoder().encode
_from_json: Callable[[str], object] = msgspec.json.Decoder().decode


def encode(value: object) -> str:
    """Return the text that is stored for `value`.

    Raises: TypeError for tuple, bytearray and awaitables at any depth; DataCloneError for what
    structured clone refuses; JsRangeError for nesting deeper than the stack.
    """
    if _is_plain(value, DEPTH_MAX):
        try:
            return _to_json(value).decode()
        except UnicodeEncodeError:
            # A lone surrogate is legal in JavaScript's strings; only its escape is legal in JSON.
            return json.dumps(value, separators=(",", ":"))
    return _encode_tagged(clone(value, refusal=STORAGE_REFUSAL))


def decode(stored: SQLiteValue) -> object:
    """Return the value that `encode` or wrangler wrote. Raises: JsException if it is neither."""
    if isinstance(stored, bytes):
        return decode_v8(stored)
    if not isinstance(stored, str):
        raise JsException(f"A stored value is not JSON: {stored!r}")
    try:
        value = _from_json(stored)
    except msgspec.DecodeError:
        value = _decode_by_json(stored)
    kind = type(value)
    if kind is dict or kind is list:
        try:
            return _Reader().any(value)
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            raise JsException(f"A stored value has a malformed tag: {error}") from error
    return value


def serialized_bytes(value: object) -> int:
    """Return about how many bytes Cloudflare would count for `value` (the production limit)."""
    return clone_sized(value, refusal=STORAGE_REFUSAL)[1]


def _is_plain(value: object, depth: int) -> bool:
    """Whether JSON holds `value` exactly and msgspec writes it as it must be read back."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX  # type: ignore[operator]  # `kind` says that it is an int
    if kind is dict or kind is JsDict:
        return depth > 0 and _are_plain_items(value, depth - 1)  # type: ignore[arg-type]  # `kind` says that it is a dict
    if kind is float:
        # 1.0 is written as 1, and JSON has no infinity: both are left to the copy.
        return math.isfinite(value) and not value.is_integer()  # type: ignore[attr-defined,arg-type]  # `kind` says that it is a float
    return False


def _are_plain_items(value: dict[object, object], depth: int) -> bool:
    for key, item in value.items():
        if type(key) is not str or key[:1] == "$":
            return False
        kind = type(item)
        if kind is str or kind is bool or item is None:
            continue
        # A container in a container may occur twice; only the copy can tell.
        if kind is dict or kind is list or kind is JsDict or not _is_plain(item, depth):
            return False
    return True


def _encode_tagged(copy: object) -> str:
    try:
        text = _Writer(copy).text()
    except RecursionError:
        raise JsRangeError("Maximum call stack size exceeded") from None
    return text


class _Writer:
    """Writes one copied value as JSON with tags."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._seen: set[int] = set()
        self._shared: set[int] = set()
        self._numbers: dict[int, int] = {}

    def text(self) -> str:
        self._find_shared(self._root)
        structure = self._any(self._root)
        try:
            return _to_json(structure).decode()
        except UnicodeEncodeError:
            return json.dumps(structure, separators=(",", ":"))

    def _find_shared(self, value: object) -> None:
        if not isinstance(value, dict | list | set):
            return
        if id(value) in self._seen:
            self._shared.add(id(value))
            return
        self._seen.add(id(value))
        for item in value.values() if isinstance(value, dict) else value:
            self._find_shared(item)

    def _any(self, value: object) -> object:
        if isinstance(value, dict | list | set):
            return self._container(value)
        if value is None or isinstance(value, str | bool):
            return value
        if isinstance(value, JsBigInt):
            return {"$bigint": str(value)}
        if isinstance(value, int):
            return value
        return _tagged_scalar(value)

    def _container(self, value: dict[str, object] | list[object] | set[object]) -> object:
        if id(value) not in self._shared:
            return self._content(value)
        known = self._numbers.get(id(value))
        if known is not None:
            return {"$same": known}
        number = self._numbers[id(value)] = len(self._numbers)
        return {"$object": number, "$is": self._content(value)}

    def _content(self, value: dict[str, object] | list[object] | set[object]) -> object:
        if isinstance(value, dict):
            return {_escaped(key): self._any(item) for key, item in value.items()}
        items = [self._any(item) for item in value]
        return items if isinstance(value, list) else {"$set": items}


def _tagged_scalar(value: object) -> object:
    match value:
        case float():
            if math.isfinite(value):
                return value
            return {"$number": "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"}
        case memoryview():
            return {"$bytes": base64.b64encode(value).decode()}
        case datetime():
            return {"$date": (value - _EPOCH) // _MILLISECOND}
        case Exception():
            return {"$error": str(value)}
        case _:
            # A Request or a stream crosses a call, but nothing can store it.
            raise DataCloneError(STORAGE_REFUSAL)


def _escaped(key: str) -> str:
    return f"${key}" if key[:1] == "$" else key


def _decode_by_json(stored: str) -> object:
    """Read what msgspec refuses and JavaScript allows: escaped lone surrogates."""
    try:
        return json.loads(stored)
    except ValueError as error:
        raise JsException(f"A stored value is not JSON: {error}") from error


class _Reader:
    """Reads one decoded JSON value with tags."""

    __slots__ = ("_objects",)

    def __init__(self) -> None:
        self._objects: dict[int, object] = {}

    def any(self, value: object) -> object:
        kind = type(value)
        if kind is dict:
            return self._dict(value)  # type: ignore[arg-type]  # `kind` says that it is a dict
        if kind is list:
            return self._fill([], value)
        return value

    def _dict(self, value: dict[str, object]) -> object:
        for key in value:
            if key[:1] == "$":
                return self._with_dollars(value)
        result = JsDict(value)
        for key, item in value.items():
            kind = type(item)
            if kind is dict or kind is list:
                result[key] = self.any(item)
        return result

    def _with_dollars(self, value: dict[str, object]) -> object:
        tag, content = next(iter(value.items()))
        if tag[:1] != "$" or tag[:2] == "$$":
            return self._fill(JsDict(), value)
        if tag == "$object":
            return self._object(_number(content), value["$is"])
        if tag == "$same":
            return self._objects[_number(content)]
        if tag == "$set":
            return self._fill(set(), content)
        return _scalar(tag, content)

    def _object(self, number: int, content: object) -> object:
        result: JsDict | list[object] | set[object]
        if isinstance(content, list):
            result = []
        elif isinstance(content, dict) and "$set" in content:
            result, content = set(), content["$set"]
        else:
            result = JsDict()
        self._objects[number] = result
        return self._fill(result, content)

    def _fill(self, result: JsDict | list[object] | set[object], content: object) -> object:
        if isinstance(result, dict):
            for key, item in _items(content):
                result[key[1:] if key[:2] == "$$" else key] = self.any(item)
            return result
        if not isinstance(content, list):
            raise TypeError("a list was expected")
        if isinstance(result, set):
            result.update(map(self.any, content))
        else:
            result.extend(map(self.any, content))
        return result


def _items(content: object) -> list[tuple[str, object]]:
    if not isinstance(content, dict):
        raise TypeError("an object was expected")
    return list(content.items())


def _number(content: object) -> int:
    if not isinstance(content, int):
        raise TypeError("a number was expected")
    return content


def _scalar(tag: str, content: object) -> object:
    match tag, content:
        case "$bytes", str():
            try:
                return memoryview(base64.b64decode(content, validate=True))
            except binascii.Error as error:
                raise ValueError(f"$bytes is not base64: {error}") from error
        case "$date", int():
            return _EPOCH + content * _MILLISECOND
        case "$bigint", str():
            return JsBigInt(content)
        case "$number", str():
            return _NUMBERS[content]
        case "$error", str():
            return Exception(content)
        case _:
            raise ValueError(f"unknown tag {tag}")
