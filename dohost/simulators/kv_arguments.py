"""What user code may ask of a KV namespace: checks without effects, in Cloudflare's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
from workers.streams import ReadableStream

from dohost.errors import JsException, JsTypeError
from dohost.simulators.text import Options, int32_of, json_text, scalar_text, well_formed

KEY_BYTES_MAX = 512
VALUE_BYTES_MAX = 25 * 1024 * 1024
METADATA_BYTES_MAX = 1024
EXPIRATION_TTL_MIN_S = 60
CACHE_TTL_MIN_S = 30
LIST_KEYS_MAX = 1000
BULK_KEYS_MAX = 100
UNKNOWN_TYPE = (
    'Unknown response type. Possible types are "text", "arrayBuffer", "json", and "stream".'
)
UNACCEPTABLE_VALUE = (
    "KV put() accepts only strings, ArrayBuffers, ArrayBufferViews, and ReadableStreams as values."
)

ValueType: TypeAlias = Literal["text", "json", "arrayBuffer", "stream"]
_TYPES: dict[object, ValueType] = {
    "text": "text",
    "json": "json",
    "arrayBuffer": "arrayBuffer",
    "stream": "stream",
}


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """What to keep with a value: when it ends (seconds since the epoch) and its metadata as JSON."""

    expiration_s: int | None
    metadata: str | None


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys to list."""

    prefix: str
    limit: int
    cursor: str | None


def failed(operation: str, status: int, reason: str) -> JsException:
    """Return the error of a refused operation."""
    return JsException(f"KV {operation} failed: {status} {reason}")


def key_of(key: object, operation: str) -> str:
    """Return a key as it is stored. Raises: JsTypeError, JsException."""
    text = _text_of(key)
    if not text:
        raise JsTypeError("Key name cannot be empty.")
    if text in (".", ".."):
        raise JsTypeError(f'"{text}" is not allowed as a key name.')
    _check_length(text, operation)
    return text


def bulk_keys_of(keys: Sequence[object]) -> list[str]:
    """Return the distinct keys of a bulk read, in order. Raises: JsTypeError, JsException."""
    if len(keys) > BULK_KEYS_MAX:
        raise failed("GET_BULK", 400, f"You can request a maximum of {BULK_KEYS_MAX} keys")
    if not keys:
        raise failed("GET_BULK", 400, "You must request a minimum of 1 key")
    return list(dict.fromkeys(map(_bulk_key_of, keys)))


def type_of(options: Options, *, is_bulk: bool) -> ValueType:
    """Return the type that a read asks for. Raises: JsTypeError, JsException."""
    wanted = options.get("type")
    cache_ttl = options.get("cacheTtl")
    if cache_ttl is not None and int32_of(cache_ttl) < CACHE_TTL_MIN_S:
        raise failed(
            "GET_BULK" if is_bulk else "GET",
            400,
            f"Invalid cache_ttl of {int32_of(cache_ttl)}. "
            f"Cache TTL must be at least {CACHE_TTL_MIN_S}.",
        )
    if wanted is None:
        return "text"
    if is_bulk and wanted not in ("text", "json"):
        raise failed("GET_BULK", 400, f'"{wanted}" is not a valid type. Use "json" or "text"')
    known = _TYPES.get(wanted) if isinstance(wanted, str) else None
    if known is None:
        raise JsTypeError(UNKNOWN_TYPE)
    return known


def value_of(value: object) -> str | bytes | ReadableStream:
    """Return a value as it is stored; a stream is read later. Raises: JsTypeError, JsException."""
    if isinstance(value, ReadableStream):
        return value
    if isinstance(value, bytes | memoryview):
        content = bytes(value)
        check_size(len(content))
        return content
    text = scalar_text(value)
    if text is None:
        raise JsTypeError(UNACCEPTABLE_VALUE)
    check_size(len(text) if text.isascii() else len(text.encode()))
    return text


def check_size(size: int) -> None:
    """Raises: JsException for a value that is too long."""
    if size > VALUE_BYTES_MAX:
        raise failed("PUT", 413, f"Value length of {size} exceeds limit of {VALUE_BYTES_MAX}.")


def put_of(options: Options, *, now_s: int) -> Put:
    """Return what to keep with a value. Raises: JsTypeError, JsException."""
    expiration_s: int | None = None
    if options.get("expirationTtl") is not None:
        expiration_s = now_s + _checked_ttl(int32_of(options["expirationTtl"]))
    elif options.get("expiration") is not None:
        expiration_s = _checked_expiration(int32_of(options["expiration"]), now_s)
    metadata: str | None = None
    if options.get("metadata") is not None:
        metadata = json_text(options["metadata"])
        size = len(metadata.encode())
        if size > METADATA_BYTES_MAX:
            raise failed(
                "PUT", 413, f"Metadata length of {size} exceeds limit of {METADATA_BYTES_MAX}."
            )
    return Put(expiration_s=expiration_s, metadata=metadata)


def listing_of(options: Options) -> Listing:
    """Return which keys to list. Raises: JsTypeError, JsException."""
    limit = int32_of(options.get("limit"))
    if limit > LIST_KEYS_MAX:
        raise failed(
            "GET",
            400,
            f"Invalid key_count_limit of {limit}. "
            f"Please specify an integer less than {LIST_KEYS_MAX}.",
        )
    prefix, cursor = options.get("prefix"), options.get("cursor")
    prefix = "" if prefix is None else well_formed(str(prefix))
    _check_length(prefix, "GET")
    return Listing(
        prefix=prefix,
        # A limit that is no positive number counts as none.
        limit=limit if limit > 0 else LIST_KEYS_MAX,
        cursor=str(cursor) if cursor else None,
    )


def _bulk_key_of(key: object) -> str:
    """Return a key as `key_of` does; here the network refuses it, and words it otherwise."""
    text = _text_of(key)
    if not text:
        raise failed("GET_BULK", 400, "Key names must not be empty")
    if text in (".", ".."):
        raise failed("GET_BULK", 400, f'Illegal key name "{text}". Please use a different name.')
    _check_length(text, "GET_BULK")
    return text


def _text_of(key: object) -> str:
    text = scalar_text(key)
    if text is None:
        raise JsTypeError(f"A KV key must be a string, not {type(key).__name__}.")
    return text


def _check_length(key: str, operation: str) -> None:
    size = len(key.encode())
    if size > KEY_BYTES_MAX:
        raise failed(
            operation,
            414,
            f"UTF-8 encoded length of {size} exceeds key length limit of {KEY_BYTES_MAX}.",
        )


def _checked_ttl(ttl_s: int) -> int:
    if ttl_s <= 0:
        raise failed(
            "PUT",
            400,
            f"Invalid expiration_ttl of {ttl_s}. Please specify integer greater than 0.",
        )
    if ttl_s < EXPIRATION_TTL_MIN_S:
        raise failed(
            "PUT",
            400,
            f"Invalid expiration_ttl of {ttl_s}. "
            f"Expiration TTL must be at least {EXPIRATION_TTL_MIN_S}.",
        )
    return ttl_s


def _checked_expiration(expiration_s: int, now_s: int) -> int:
    if expiration_s <= now_s:
        raise failed(
            "PUT",
            400,
            f"Invalid expiration of {expiration_s}. Please specify integer greater than the "
            "current number of seconds since the UNIX epoch.",
        )
    if expiration_s < now_s + EXPIRATION_TTL_MIN_S:
        raise failed(
            "PUT",
            400,
            f"Invalid expiration of {expiration_s}. Expiration times must be at least "
            f"{EXPIRATION_TTL_MIN_S} seconds in the future.",
        )
    return expiration_s
