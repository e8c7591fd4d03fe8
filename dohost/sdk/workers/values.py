"""What crosses a call: the copy rule for values.

Two objects never share a mutable value. Whatever goes from one to the other, and whatever goes into
storage, is copied as JavaScript's structured clone would, seen from Python: numbers lose the
difference between 1.0 and 1, dicts come out as `JsDict` with string keys, bytes come out as a read-only
`memoryview`, aliases and cycles inside one value stay what they are.

Invariants: (1) no mutable container of the input is reachable from the output; (2) `clone` is a pure
function but for `wrap`, which turns functions and RPC targets into stubs and moves platform objects, so
without `wrap` a value may be copied again after a refusal; (3) a refused value raises before anything
was sent. Speed matters (each call copies its arguments and its result), so scalars and
flat dicts leave before any bookkeeping starts. This file must not know what a Request or a stub is: such
classes derive from `Transferable` or `ByReference`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from dohost.errors import DataCloneError, JsException, JsRangeError

if TYPE_CHECKING:
    from workers.streams import ReadableStream
    from workers.writable import WritableStream

SAFE_INTEGER_MAX = 2**53 - 1
CLONE_BYTES_MAX = 32 * 1024 * 1024
RPC_REFUSAL = (
    "Proxy could not be serialized because it is not a valid RPC receiver type. The Proxy must "
    "emulate either a plain object or an RpcTarget, as indicated by the Proxy's prototype chain."
)
STORAGE_REFUSAL = "[object Object] could not be cloned."

# What is within both bounds is not measured; `arguments` says how many such values stay under
# CLONE_BYTES_MAX together.
FLAT_TEXT_MAX = 16 * 1024
FLAT_ENTRIES_MAX = 64


class Transferable:
    """A platform object (Request, Blob, stream, …) that crosses a call, but never goes into storage."""

    __slots__ = ()

    def transfer(self, streams: StreamMover) -> Transferable:
        """Return what arrives on the other side; a body or a stream is moved there, not copied."""
        raise DataCloneError(RPC_REFUSAL)


class StreamMover(Protocol):
    """How the two kinds of streams get to the other side of a call."""

    def readable(self, stream: ReadableStream) -> ReadableStream: ...

    def writable(self, stream: WritableStream) -> WritableStream: ...


class ByReference:
    """An object of which only a stub crosses a call: RPC targets and stubs themselves."""

    __slots__ = ()


class JsDict(dict[str, object]):
    """A dict whose items can also be read, set and deleted as attributes.

    Names of dict methods (`items`, `get`, …) are reached by item access only.
    """

    __slots__ = ()

    # `object` is true but useless to callers that write `row.name.upper()`.
    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]  # see above
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: object) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None


class JsBigInt(int):
    """A JavaScript BigInt: an int that stays one whatever its size."""

    __slots__ = ()


class ArrayBuffer(bytes):
    """Immutable bytes with the methods that Worker code calls on a JavaScript buffer."""

    __slots__ = ()

    @property
    def byteLength(self) -> int:
        return len(self)

    def to_py(self) -> memoryview:
        return memoryview(self)

    def to_memoryview(self) -> memoryview:
        return memoryview(self)

    def to_bytes(self) -> bytes:
        return bytes(self)

    tobytes = to_bytes


class Uint8Array(bytearray):
    """Mutable bytes that may cross a call, as JavaScript's typed array; the copy is a memoryview."""

    @property
    def byteLength(self) -> int:
        return len(self)

    def to_py(self) -> memoryview:
        return memoryview(self)

    def to_bytes(self) -> bytes:
        return bytes(self)


def clone(
    value: object,
    *,
    wrap: Callable[[object], object] | None = None,
    refusal: str = RPC_REFUSAL,
) -> object:
    """Return the copy of `value` that the other side of a call, or storage, sees.

    `wrap` turns a function, RPC target, stub or platform object into what the other side holds; without
    it these are refused like any foreign object. `refusal` is the message for foreign objects.

    Raises: TypeError for tuple, bytearray and awaitables at any depth; DataCloneError for foreign
    objects; JsRangeError for nesting deeper than the stack; JsException above 32 MiB.
    """
    # mypy narrows `value` by isinstance only, which costs more than these comparisons.
    kind = type(value)
    if kind is str:
        if len(value) <= FLAT_TEXT_MAX:  # type: ignore[arg-type]  # a str
            return value
    elif kind is int:
        if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:  # type: ignore[operator]  # an int
            return value
    elif kind is bool or value is None:
        return value
    elif (kind is dict or kind is JsDict) and is_flat(value):  # type: ignore[arg-type]  # a dict
        return JsDict(value)  # type: ignore[call-overload]  # a dict
    return clone_sized(value, wrap=wrap, refusal=refusal)[0]


def clone_sized(
    value: object,
    *,
    wrap: Callable[[object], object] | None = None,
    refusal: str = RPC_REFUSAL,
) -> tuple[object, int]:
    """Return the copy of `value` and about how many bytes it takes when serialized."""
    copy = _Copy(wrap, refusal)
    try:
        result = copy.any(value)
    except RecursionError:
        raise JsRangeError("Maximum call stack size exceeded") from None
    check_size(copy.size)
    return result, copy.size


def check_size(size: int) -> None:
    """Refuse a message that is too large. Raises: JsException."""
    if size > CLONE_BYTES_MAX:
        raise JsException(
            "Serialized RPC arguments or return values are limited to 32MiB, "
            f"but the size of this value was: {size} bytes."
        )


def is_flat(value: dict[object, object]) -> bool:
    """Whether a dict is small and holds texts and numbers only, so that nobody has to measure it."""
    if len(value) > FLAT_ENTRIES_MAX:
        return False
    for key in value:
        if type(key) is not str or len(key) > FLAT_TEXT_MAX:
            return False
    return are_scalars(value.values())


def are_scalars(values: Iterable[object]) -> bool:
    """Whether these are short texts and numbers, which cross as they are."""
    for value in values:
        kind = type(value)
        if kind is str:
            if len(value) > FLAT_TEXT_MAX:  # type: ignore[arg-type]  # a str
                return False
        elif kind is int:
            if not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:  # type: ignore[operator]  # an int
                return False
        elif kind is not bool and value is not None:
            return False
    return True


class _Copy:
    """One run of `clone` over a nested value: what was copied already, and how big it is."""

    __slots__ = ("refusal", "seen", "size", "wrap")

    def __init__(self, wrap: Callable[[object], object] | None, refusal: str) -> None:
        self.wrap = wrap
        self.refusal = refusal
        self.seen: dict[int, object] = {}
        self.size = 0

    def any(self, value: object) -> object:
        kind = type(value)
        if kind is bool or value is None:
            self.size += 1
            return value
        copier = _COPIERS.get(kind)
        if copier is not None:
            return copier(self, value)
        return self.foreign(value)

    def text(self, value: str) -> str:
        self.size += len(value) if value.isascii() else 2 * len(value)
        self.size += 3
        return value if type(value) is str else str.__str__(value)

    def integer(self, value: int) -> int:
        if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            self.size += 5
            return int(value)
        return self.big(value)

    def big(self, value: int) -> JsBigInt:
        self.size += 3 + value.bit_length() // 8
        return JsBigInt(value)

    def real(self, value: float) -> float:
        self.size += 9
        if value.is_integer() and -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            return int(value)
        return float(value)

    def octets(self, value: bytes | memoryview | Uint8Array) -> memoryview:
        view = memoryview(value)
        self.size += 4 + view.nbytes
        is_frozen = isinstance(view.obj, bytes) and view.format == "B" and view.c_contiguous
        return view if is_frozen and view.ndim == 1 else memoryview(view.tobytes())

    def date(self, value: datetime) -> datetime:
        self.size += 9
        if value.tzinfo is not None:
            value = value.astimezone(UTC)
        whole_ms = value.microsecond // 1000 * 1000
        return datetime(*value.timetuple()[:6], whole_ms)

    def error(self, value: Exception) -> Exception:
        known = self.seen.get(id(value))
        if known is None:
            message = str(value)
            self.size += 8 + len(message)
            known = self.seen[id(value)] = Exception(f"Error: {message}")
        return known  # type: ignore[return-value]  # what is kept under an Exception's id

    def list(self, value: Iterable[object]) -> object:
        known = self.seen.get(id(value))
        if known is not None:
            return known
        self.size += 4
        result: list[object] = []
        self.seen[id(value)] = result
        append, copiers = result.append, _COPIERS
        for item in value:
            copier = copiers.get(type(item))
            append(self.any(item) if copier is None else copier(self, item))
        return result

    def set(self, value: Iterable[object]) -> object:
        known = self.seen.get(id(value))
        if known is not None:
            return known
        self.size += 4
        result: set[object] = set()
        self.seen[id(value)] = result
        for item in value:
            result.add(self.any(item))
        return result

    def dict(self, value: dict[object, object]) -> object:
        known = self.seen.get(id(value))
        if known is not None:
            return known
        self.size += 4
        result = JsDict()
        self.seen[id(value)] = result
        text, copiers = self.text, _COPIERS
        for key, item in value.items():
            name = text(key) if type(key) is str else self.key(key)
            copier = copiers.get(type(item))
            result[name] = self.any(item) if copier is None else copier(self, item)
        return result

    def key(self, key: object) -> str:
        """Return the property name that JavaScript makes of a key."""
        match key:
            case str():
                return self.text(key)
            case bool() | None:
                return self.text({True: "true", False: "false", None: "null"}[key])
            case int() | float():
                return self.text(str(self.any(key)))
            case tuple() | bytearray():
                self.unsendable(key)
            case _:
                raise self.refused(key)

    def unsendable(self, value: object) -> NoReturn:
        raise TypeError(f"{type(value)} cannot be sent over RPC.")

    def foreign(self, value: object) -> object:
        """Copy what has no copier of its own: platform objects, subclasses, functions."""
        if isinstance(value, (Transferable, ByReference)):
            return self.reference(value)
        for base, copier in _COPIERS.items():
            if isinstance(value, base):
                return copier(self, value)
        if inspect.isawaitable(value):
            raise TypeError(f"Awaitable {value!r} cannot be sent over RPC.")
        if callable(value) and not isinstance(value, type):
            return self.reference(value)
        raise self.refused(value)

    def refused(self, value: object) -> DataCloneError:
        error = DataCloneError(self.refusal)
        # The message is the recorded one, which names nothing; people see the note below it.
        error.add_note(
            f'Could not serialize object of type "{type(value).__name__}". '
            "This type does not support serialization."
        )
        return error

    def reference(self, value: object) -> object:
        if self.wrap is None:
            raise self.refused(value)
        known = self.seen.get(id(value))
        if known is None:
            known = self.seen[id(value)] = self.wrap(value)
        return known


# Keyed by exact class first; `foreign` walks it in this order for subclasses (JsBigInt before int).
_COPIERS: dict[type, Callable[[_Copy, Any], object]] = {  # Any: each takes values of its key
    str: _Copy.text,
    JsBigInt: _Copy.big,
    int: _Copy.integer,
    float: _Copy.real,
    dict: _Copy.dict,
    JsDict: _Copy.dict,
    list: _Copy.list,
    set: _Copy.set,
    bytes: _Copy.octets,
    memoryview: _Copy.octets,
    datetime: _Copy.date,
    tuple: _Copy.unsendable,
    Uint8Array: _Copy.octets,
    bytearray: _Copy.unsendable,
    Exception: _Copy.error,
}
