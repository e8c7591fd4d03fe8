"""The neutral encoding of values, and how JavaScript's results map to what Python programs see.

Both drivers answer in JSON with tags; `decode` gives the Python value back, for reading a report and for
comparing. The mapping is Cloudflare's own for Python Workers, applied by each driver to its side:

    JavaScript                                      Python
    undefined, null                                 None
    a number that is a safe integer, also -0        int
    any other number                                float            {"$float": text}
    BigInt                                          JsBigInt         {"$bigint": digits}
    string                                          str
    ArrayBuffer and its views                       memoryview       {"$bytes": hex}
    Array                                           list
    Map, plain object (in their order)              dict             {"$dict": [[key, value], …]}
    Set (in its order)                              set              {"$set": [value, …]}
    Date                                            datetime, naive  {"$date": ms}
    Error as a value                                Exception        {"$exception": "Error: text"}
    a container met again                           the same object  {"$same": number}
    an Error that was thrown                        an exception     {"$error": {name, message, flags}}
    an iterator's step {done, value}                the value in a list, or "done"

Python's sets have no order, so sets are compared sorted. Long texts and BLOBs travel as their length.
javascript/neutral.js is this file's twin.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from workers.values import SAFE_INTEGER_MAX, JsBigInt, JsDict

Encoded = None | bool | int | float | str | list["Encoded"] | dict[str, "Encoded"]

LONG = 2000
FLAGS = ("remote", "retryable", "overloaded", "durableObjectReset")
_EPOCH = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)


class Ready:
    """An answer that is in the neutral form already."""

    def __init__(self, answer: Encoded) -> None:
        self.answer = answer


def encode(value: object) -> Encoded:
    """Return what the Python driver answers for a result."""
    if isinstance(value, Ready):
        return value.answer
    return _Encoder().any(value)


def encode_error(error: BaseException) -> Encoded:
    """Return what the Python driver answers for an exception."""
    name = getattr(error, "name", None) or type(error).__name__
    message = getattr(error, "message", None) or str(error)
    flags: list[Encoded] = [flag for flag in FLAGS if getattr(error, flag, False)]
    return {"$error": {"name": name, "message": message, "flags": flags}}


def decode(encoded: Encoded) -> object:
    """Return the Python value that an operation's argument stands for."""
    if isinstance(encoded, list):
        return [decode(each) for each in encoded]
    if not isinstance(encoded, dict):
        return encoded
    ((tag, content),) = encoded.items()
    return _DECODERS[tag](content)


def is_error(encoded: Encoded) -> bool:
    """Whether an answer is an error that was thrown."""
    return isinstance(encoded, dict) and "$error" in encoded


def comparable(encoded: Encoded) -> Encoded:
    """Return an answer in the one form in which equal values are equal."""
    if isinstance(encoded, list):
        return [comparable(each) for each in encoded]
    if not isinstance(encoded, dict):
        # True == 1 in Python.
        return {"$bool": int(encoded)} if isinstance(encoded, bool) else encoded
    ((tag, content),) = encoded.items()
    if tag == "$float":
        return {tag: repr(float(str(content)))}
    if tag == "$set":
        assert isinstance(content, list), "a set is written as a list"
        return {tag: sorted([comparable(each) for each in content], key=repr)}
    return encoded if tag == "$error" else {tag: comparable(content)}


class _Encoder:
    """Encodes one result; knows which containers it has met."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def any(self, value: object) -> Encoded:
        match value:
            case None | bool():
                return value
            case str():
                return {"$long": [len(value), value[:8]]} if len(value) > LONG else value
            case JsBigInt():
                return {"$bigint": str(value)}
            case int():
                is_safe = -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX
                return value if is_safe else {"$unsafe": str(value)}
            case float():
                return {"$float": repr(value)}
            case memoryview():
                data = value.tobytes()
                return (
                    {"$long": [len(data), "bytes"]} if len(data) > LONG else {"$bytes": data.hex()}
                )
            case datetime():
                return {"$date": (value - _EPOCH) // _MILLISECOND}
            case Exception():
                return {"$exception": str(value)}
            case list() | dict() | set():
                return self._container(value)
        return {"$foreign": type(value).__name__}

    def _container(self, value: list[object] | dict[object, object] | set[object]) -> Encoded:
        if id(value) in self._seen:
            return {"$same": self._seen[id(value)]}
        self._seen[id(value)] = len(self._seen)
        match value:
            case list():
                return [self.any(each) for each in value]
            case set():
                return {"$set": [self.any(each) for each in value]}
        # A plain dict has not the attributes that Worker code may read.
        tag = "$dict" if isinstance(value, JsDict) else "$plain"
        return {tag: [[str(key), self.any(each)] for key, each in value.items()]}


def _twice(content: Encoded) -> object:
    shared = decode(content)
    return [shared, {"other": shared}]


def _cycle(content: Encoded) -> object:
    cycle = [decode(content)]
    cycle.append(cycle)
    return cycle


def _dict(content: Encoded) -> dict[str, object]:
    assert isinstance(content, list), "a dict is written as a list of pairs"
    return {str(pair[0]): decode(pair[1]) for pair in content if isinstance(pair, list)}


_DECODERS: Mapping[str, object] = {
    "$dict": _dict,
    "$set": lambda content: {decode(each) for each in content},
    "$bytes": bytes.fromhex,
    "$date": lambda content: (_EPOCH + content * _MILLISECOND).replace(tzinfo=UTC),
    "$float": float,
    "$bigint": lambda content: JsBigInt(content),
    "$exception": lambda content: Exception(content),
    "$repeat": lambda content: content[0] * content[1],
    "$twice": _twice,
    "$cycle": _cycle,
    "$function": lambda content: lambda: 1,
}
