"""Reading values that wrangler's workerd wrote: V8's structured clone format, versions 13 to 15.

Only reading, and only the types that our own encoding can hold; anything else is
refused by its tag. The format is a stream of one-byte tags; lengths are little-endian base-128 numbers;
objects are numbered in the order in which they begin, and a back reference names that number.
Source of the tags: V8's `value-serializer.cc`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import datetime, timedelta

from workers.values import SAFE_INTEGER_MAX, JsBigInt, JsDict

from dohost.errors import JsException

_EPOCH = datetime(1970, 1, 1)
VERSION_MAX = 15
SPARSE_LENGTH_MAX = 1_000_000
_VERSION = 0xFF
_CONSTANTS: dict[str, object] = {
    "_": None,
    "0": None,
    "T": True,
    "F": False,
    "-": None,
}


def decode_v8(stored: bytes) -> object:
    """Return the value in a BLOB. Raises: JsException for types that can't be read, or damage."""
    try:
        return _Stream(stored).root()
    except (LookupError, ValueError, struct.error, OverflowError, RecursionError) as error:
        raise JsException(f"A stored value of V8's format is damaged: {error!r}") from error


class _Stream:
    """One serialized value and the position in it."""

    __slots__ = ("_at", "_bytes", "_objects")

    def __init__(self, stored: bytes) -> None:
        self._bytes = stored
        self._at = 0
        self._objects: list[object] = []

    def root(self) -> object:
        if self._bytes[:1] != b"\xff":
            raise JsException(
                "A stored value is a BLOB that is neither dohost's nor V8's format with a header."
            )
        self._at = 1
        version = self._varint()
        if version > VERSION_MAX:
            raise JsException(f"A stored value has version {version} of V8's format.")
        return self._any()

    def _any(self) -> object:
        tag = self._tag()
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        read = _READERS.get(tag)
        if read is None:
            raise JsException(
                f"A stored value has a type that can't be read here (V8 tag {tag!r})."
            )
        return read(self)

    def _tag(self) -> str:
        while self._bytes[self._at] == 0:  # padding, for the alignment of two-byte strings
            self._at += 1
        self._at += 1
        return chr(self._bytes[self._at - 1])

    def _peek(self) -> str:
        return chr(self._bytes[self._at])

    def _take(self, count: int) -> bytes:
        taken = self._bytes[self._at : self._at + count]
        if len(taken) != count:
            raise IndexError("the value ends too early")
        self._at += count
        return taken

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def _begin(self, value: object) -> int:
        self._objects.append(value)
        return len(self._objects) - 1

    def integer(self) -> int:
        encoded = self._varint()
        return (encoded >> 1) ^ -(encoded & 1)

    def unsigned(self) -> int:
        return self._varint()

    def double(self) -> int | float:
        (number,) = struct.unpack("<d", self._take(8))
        if number.is_integer() and abs(number) <= SAFE_INTEGER_MAX:
            return int(number)
        return float(number)

    def one_byte_text(self) -> str:
        return self._take(self._varint()).decode("latin-1")

    def two_byte_text(self) -> str:
        return self._take(self._varint()).decode("utf-16-le", "surrogatepass")

    def utf8_text(self) -> str:
        return self._take(self._varint()).decode()

    def big_integer(self) -> JsBigInt:
        bits = self._varint()
        number = int.from_bytes(self._take((bits >> 1) & 0x3FFFFFFF), "little")
        return JsBigInt(-number if bits & 1 else number)

    def read_date(self) -> datetime:
        result = _EPOCH + timedelta(milliseconds=self.double())
        self._begin(result)
        return result

    def read_boxed(self, read: Callable[[], object]) -> object:
        number = self._begin(None)
        self._objects[number] = result = read()
        return result

    def read_object(self) -> JsDict:
        result = JsDict()
        self._begin(result)
        self._properties(result, "{")
        self._varint()
        return result

    def _properties(self, result: JsDict, end: str) -> None:
        while self._end_or_more(end):
            key = self._any()
            result[str(key)] = self._any()

    def _end_or_more(self, end: str) -> bool:
        if self._peek() != end:
            return True
        self._at += 1
        return False

    def dense_array(self) -> list[object]:
        result: list[object] = []
        self._begin(result)
        result.extend(self._any() for _ in range(self._varint()))
        self._properties(JsDict(), "$")
        self._varint()
        self._varint()
        return result

    def sparse_array(self) -> list[object]:
        length = self._varint()
        if length > SPARSE_LENGTH_MAX:
            raise JsException(f"A stored sparse array is too long to be read ({length}).")
        result: list[object] = [None] * length
        self._begin(result)
        elements = JsDict()
        self._properties(elements, "@")
        self._varint()
        self._varint()
        for key, item in elements.items():
            if key.isdigit() and int(key) < len(result):
                result[int(key)] = item
        return result

    def read_map(self) -> JsDict:
        result = JsDict()
        self._begin(result)
        self._properties(result, ":")
        self._varint()
        return result

    def read_set(self) -> set[object]:
        result: set[object] = set()
        self._begin(result)
        while self._end_or_more(","):
            item = self._any()
            if isinstance(item, dict | list | set):
                raise JsException("A stored Set holds objects, which a Python set can't.")
            result.add(item)
        self._varint()
        return result

    def read_buffer(self) -> memoryview:
        result = memoryview(self._take(self._varint()))
        number = self._begin(result)
        if self._at < len(self._bytes) and self._peek() == "V":
            self._at += 1
            return self._view(number)
        return result

    def _view(self, number: int) -> memoryview:
        self._tag()
        offset, length = self._varint(), self._varint()
        self._varint()  # flags, since version 14
        buffer = self._objects[number]
        assert isinstance(buffer, memoryview), "a view follows its buffer"
        result = buffer[offset : offset + length]
        self._begin(result)
        return result

    def read_same(self) -> object:
        return self._objects[self._varint()]

    def read_error(self) -> Exception:
        number = self._begin(None)
        name, message = "Error", ""
        while (part := self._tag()) != ".":
            if part in _ERROR_NAMES:
                name = _ERROR_NAMES[part]
            elif part in "ms":
                text = str(self._any())
                message = text if part == "m" else message
            else:
                raise JsException(f"A stored Error has a part that can't be read ({part!r}).")
        result = Exception(f"{name}: {message}" if message else name)
        self._objects[number] = result
        return result


_ERROR_NAMES = {
    "E": "EvalError",
    "R": "RangeError",
    "F": "ReferenceError",
    "S": "SyntaxError",
    "T": "TypeError",
    "U": "URIError",
}

_READERS: dict[str, Callable[[_Stream], object]] = {
    "I": _Stream.integer,
    "U": _Stream.unsigned,
    "N": _Stream.double,
    '"': _Stream.one_byte_text,
    "c": _Stream.two_byte_text,
    "S": _Stream.utf8_text,
    "Z": _Stream.big_integer,
    "D": _Stream.read_date,
    "n": lambda stream: stream.read_boxed(stream.double),
    "y": lambda stream: stream.read_boxed(lambda: True),
    "x": lambda stream: stream.read_boxed(lambda: False),
    "z": lambda stream: stream.read_boxed(stream.big_integer),
    "s": lambda stream: stream.read_boxed(stream._any),
    "o": _Stream.read_object,
    "A": _Stream.dense_array,
    "a": _Stream.sparse_array,
    ";": _Stream.read_map,
    "'": _Stream.read_set,
    "B": _Stream.read_buffer,
    "^": _Stream.read_same,
    "r": _Stream.read_error,
}
