"""A KV namespace as Worker code holds it: `await env.NAME.get("key", "json")`.

Arguments are checked and copied at the call, in JavaScript's forms or as keywords; writes wait for the
output gate of the object that makes them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TypeVar

from workers.streams import ReadableStream
from workers.values import ArrayBuffer, JsDict

from dohost.clock import Clock
from dohost.errors import JsException
from dohost.simulators.failures import telling
from dohost.simulators.kv_arguments import (
    VALUE_BYTES_MAX,
    ValueType,
    bulk_keys_of,
    check_size,
    failed,
    key_of,
    listing_of,
    put_of,
    type_of,
    value_of,
)
from dohost.simulators.kv_store import Entry, KvStore, ListedKey
from dohost.simulators.outlet import Outlet
from dohost.simulators.text import Options, options_of, parse_json

Result = TypeVar("Result")


class KvNamespace:
    """Keys and values of one namespace."""

    def __init__(self, store: KvStore, *, outlet: Outlet, clock: Clock) -> None:
        self._store = store
        self._outlet = outlet
        self._clock = clock

    def get(self, key: object, options: object = None, /, **named: object) -> Awaitable[object]:
        """Give a value (None if there is none), or a dict of the values of a list of keys.

        `options` is the type or has it as `type`: "text", "json", "arrayBuffer" or "stream".
        """
        if isinstance(key, list):
            return self._get_many(key, options, named, with_metadata=False)
        name = key_of(key, "GET")
        wanted = type_of(_read_options(options, named), is_bulk=False)

        async def read() -> object:
            entry = await self._entry(name)
            return None if entry is None else _as_type(entry.value, wanted)

        return self._read("GET", read)

    def getWithMetadata(
        self, key: object, options: object = None, /, **named: object
    ) -> Awaitable[object]:
        """Give value, metadata and cacheStatus of a key, or a dict of them for a list of keys."""
        if isinstance(key, list):
            return self._get_many(key, options, named, with_metadata=True)
        name = key_of(key, "GET")
        wanted = type_of(_read_options(options, named), is_bulk=False)

        async def read() -> JsDict:
            entry = await self._entry(name)
            if entry is None:
                return JsDict(value=None, metadata=None, cacheStatus=None)
            value = _as_type(entry.value, wanted)
            return JsDict(value=value, metadata=_metadata(entry.metadata), cacheStatus=None)

        return self._read("GET", read)

    def put(
        self, key: object, value: object, options: object = None, /, **named: object
    ) -> Awaitable[None]:
        """Set a value: text, bytes or a stream; `expiration`, `expirationTtl` and `metadata` go with it."""
        name = key_of(key, "PUT")
        content = value_of(value)
        put = put_of(options_of(options, named), now_s=self._now_s())

        async def write() -> None:
            value = await _read_all(content) if isinstance(content, ReadableStream) else content
            await self._store.put(name, value, put, now_s=self._now_s())

        return self._write("PUT", write)

    def delete(self, key: object) -> Awaitable[None]:
        """Delete a key; nothing happens if it is not there."""
        name = key_of(key, "DELETE")
        return self._write("DELETE", lambda: self._store.delete(name))

    def list(self, options: object = None, /, **named: object) -> Awaitable[JsDict]:
        """Give `keys`, whether they are all (`list_complete`) and, if not, a `cursor`."""
        listing = listing_of(options_of(options, named))

        async def read() -> JsDict:
            keys, cursor = await self._store.list(listing, now_s=self._now_s())
            result = JsDict(keys=[_listed(key) for key in keys], list_complete=cursor is None)
            if cursor is not None:
                result["cursor"] = cursor
            result["cacheStatus"] = None
            return result

        return self._read("GET", read)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<KvNamespace {self._store.path.name}>"

    def _get_many(
        self, keys: Sequence[object], options: object, named: Options, *, with_metadata: bool
    ) -> Awaitable[object]:
        names = bulk_keys_of(keys)
        wanted = type_of(_read_options(options, named), is_bulk=True)

        async def read() -> JsDict:
            entries = await self._store.get(names, now_s=self._now_s())
            size = sum(len(entry.value) for entry in entries.values())
            if size > VALUE_BYTES_MAX:
                raise failed("GET_BULK", 413, "Total size of request exceeds the limit of 25MB")
            return JsDict(
                {name: _bulk_item(entries.get(name), wanted, with_metadata) for name in names}
            )

        return self._read("GET_BULK", read)

    def _read(
        self, operation: str, work: Callable[[], Coroutine[object, object, Result]]
    ) -> Awaitable[Result]:
        return self._outlet.read(telling(work, partial(failed, operation)))

    def _write(
        self, operation: str, work: Callable[[], Coroutine[object, object, None]]
    ) -> Awaitable[None]:
        return self._outlet.write(telling(work, partial(failed, operation)))

    async def _entry(self, name: str) -> Entry | None:
        return (await self._store.get([name], now_s=self._now_s())).get(name)

    def _now_s(self) -> int:
        return self._clock.realtime_ns() // 1_000_000_000


def _read_options(options: object, named: Options) -> Options:
    return options_of({"type": options} if isinstance(options, str) else options, named)


def _as_type(value: str | bytes, wanted: ValueType) -> object:
    match wanted:
        case "text":
            return _text(value)
        case "json":
            return parse_json(_text(value))
        case "arrayBuffer":
            return ArrayBuffer(_bytes(value))
        case "stream":
            return ReadableStream.from_bytes(_bytes(value))


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _metadata(text: str | None) -> object:
    return None if text is None else parse_json(text)


def _bulk_item(entry: Entry | None, wanted: ValueType, with_metadata: bool) -> object:
    if entry is None:
        return None
    try:
        value = _as_type(entry.value, wanted)
    except JsException as error:
        raise failed(
            "GET_BULK",
            400,
            f"At least one of the requested keys corresponds to a non-{wanted} value",
        ) from error
    return JsDict(value=value, metadata=_metadata(entry.metadata)) if with_metadata else value


def _listed(key: ListedKey) -> JsDict:
    listed = JsDict(name=key.name)
    if key.expiration_s is not None:
        listed["expiration"] = key.expiration_s
    if key.metadata is not None:
        listed["metadata"] = parse_json(key.metadata)
    return listed


async def _read_all(stream: ReadableStream) -> bytes:
    content = bytearray()
    async for chunk in stream.chunks():
        content += chunk
        check_size(len(content))
    return bytes(content)
