"""An R2 bucket as Worker code holds it: `await env.BUCKET.put("key", request.body)`.

Bodies go in and out in pieces and are never whole in memory. Every operation waits for the output gate of
whoever asks, as on Cloudflare.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TypeVar

from workers.blob import JsBlob
from workers.streams import ReadableStream
from workers.values import JsDict

from dohost.errors import JsTypeError
from dohost.simulators.failures import telling
from dohost.simulators.outlet import Outlet
from dohost.simulators.r2_arguments import (
    Holder,
    check_of,
    custom_metadata_of,
    failed,
    http_metadata_of,
    included_of,
    key_of,
    limit_of,
    part_number_of,
)
from dohost.simulators.r2_conditions import condition_of
from dohost.simulators.r2_objects import R2Object, R2ObjectBody
from dohost.simulators.r2_ranges import EVERYTHING, range_of, slice_of
from dohost.simulators.r2_rows import StoredObject
from dohost.simulators.r2_store import Listing, Metadata, Published, R2Store
from dohost.simulators.text import Options, options_of, well_formed

Result = TypeVar("Result")


class R2Bucket:
    """The objects of one bucket."""

    def __init__(self, store: R2Store, *, outlet: Outlet) -> None:
        self._store = store
        self._outlet = outlet

    def head(self, key: object) -> Awaitable[R2Object | None]:
        """Give what is known of an object; None if there is none."""
        name = key_of(key, "head")

        async def head() -> R2Object | None:
            stored = await self._store.head(name)
            return None if stored is None else R2Object(stored, slice_of(EVERYTHING, stored.size))

        return self._do("head", head)

    def get(
        self, key: object, options: object = None, /, **named: object
    ) -> Awaitable[R2Object | None]:
        """Give an object with its body, or a `range` of it; without a body if `onlyIf` does not hold."""
        name = key_of(key, "get")
        given = options_of(options, named)
        condition = condition_of(given.get("onlyIf"), "GetOptions")
        wanted = range_of(given.get("range"))

        async def get() -> R2Object | None:
            stored = await self._store.head(name)
            if stored is None:
                return None
            if condition is not None and not condition.holds(stored.etag, stored.uploaded_ms):
                return R2Object(stored, slice_of(EVERYTHING, stored.size))
            part = slice_of(wanted, stored.size)
            body = ReadableStream(self._store.read(stored, part))
            return R2ObjectBody(stored, part, body)

        return self._do("get", get)

    def put(
        self, key: object, value: object, options: object = None, /, **named: object
    ) -> Awaitable[R2Object | None]:
        """Set an object; None if `onlyIf` does not hold.

        Options: `httpMetadata`, `customMetadata`, `onlyIf`, and one of `md5`, `sha1`, `sha256`,
        `sha384`, `sha512` that the bytes must have.
        """
        name = key_of(key, "put")
        given = options_of(options, named)
        chunks = _chunks_of(value, "put", 2)
        metadata = _metadata_of(given, "PutOptions", "put")
        check = check_of(given)
        condition = condition_of(given.get("onlyIf"), "PutOptions")

        async def put() -> R2Object | None:
            stored = await self._store.put(
                name, chunks, metadata=metadata, check=check, condition=condition
            )
            return None if stored is None else R2Object(stored, None)

        return self._do("put", put)

    def delete(self, keys: object) -> Awaitable[None]:
        """Delete an object or a list of them; those that aren't there don't matter."""
        names = [key_of(key, "delete") for key in (keys if isinstance(keys, list) else [keys])]
        return self._do("delete", lambda: self._store.delete(names))

    def list(self, options: object = None, /, **named: object) -> Awaitable[JsDict]:
        """Give `objects`, `delimitedPrefixes`, whether there are more (`truncated`) and a `cursor`."""
        given = options_of(options, named)
        fields = included_of(given.get("include"))
        listing = _listing_of(given, limit_of(given.get("limit"), fields))

        async def listed() -> JsDict:
            objects, prefixes, following = await self._store.list(listing)
            result = JsDict(objects=[_listed(each, fields) for each in objects])
            result["truncated"] = following is not None
            if following is not None:
                result["cursor"] = base64.b64encode(following.encode()).decode()
            result["delimitedPrefixes"] = prefixes
            return result

        return self._do("list", listed)

    def createMultipartUpload(
        self, key: object, options: object = None, /, **named: object
    ) -> Awaitable[R2MultipartUpload]:
        """Begin an upload in parts."""
        name = key_of(key, "createMultipartUpload")
        metadata = _metadata_of(
            options_of(options, named), "MultipartOptions", "createMultipartUpload"
        )

        async def create() -> R2MultipartUpload:
            upload_id = await self._store.create_upload(name, metadata)
            return self.resumeMultipartUpload(name, upload_id)

        return self._do("createMultipartUpload", create)

    def resumeMultipartUpload(self, key: object, upload_id: str) -> R2MultipartUpload:
        """Return an upload that was begun before; whether it is there shows at its first use."""
        name = key_of(key, "resumeMultipartUpload")
        return R2MultipartUpload(self._store, self._outlet, name, str(upload_id))

    def __repr__(self) -> str:
        return f"<R2Bucket {self._store.directory.name}>"

    def _do(
        self, operation: str, work: Callable[[], Coroutine[object, object, Result]]
    ) -> Awaitable[Result]:
        return self._outlet.write(_told(operation, work))


class R2MultipartUpload:
    """An object on its way in, part by part; all parts but the last have one size of at least 5 MiB."""

    def __init__(self, store: R2Store, outlet: Outlet, key: str, upload_id: str) -> None:
        self._store = store
        self._outlet = outlet
        self.key = key
        self.uploadId = upload_id

    def uploadPart(self, part_number: object, value: object) -> Awaitable[JsDict]:
        """Send one part, or replace it; give its number and etag."""
        number = part_number_of(part_number)
        chunks = _chunks_of(value, "uploadPart", 2)

        async def upload() -> JsDict:
            etag = await self._store.upload_part(self.key, self.uploadId, number, chunks)
            return JsDict(partNumber=number, etag=etag)

        return self._outlet.write(_told("uploadPart", upload))

    def complete(self, parts: Sequence[Mapping[str, object]]) -> Awaitable[R2Object]:
        """Make the object of these parts, each with its number and etag."""
        published = [
            Published(part_number_of(each["partNumber"]), str(each["etag"])) for each in parts
        ]

        async def complete() -> R2Object:
            stored = await self._store.complete_upload(self.key, self.uploadId, published)
            return R2Object(stored, None)

        return self._outlet.write(_told("completeMultipartUpload", complete))

    def abort(self) -> Awaitable[None]:
        """Give the upload up and forget its parts."""

        async def abort() -> None:
            await self._store.abort_upload(self.key, self.uploadId)

        return self._outlet.write(_told("abortMultipartUpload", abort))


def _told(
    operation: str, work: Callable[[], Coroutine[object, object, Result]]
) -> Callable[[], Coroutine[object, object, Result]]:
    return telling(work, lambda status, reason: failed(operation, 10001, reason))


def _chunks_of(value: object, operation: str, position: int) -> AsyncIterator[bytes]:
    """Return a body in pieces. Raises: JsTypeError."""
    match value:
        case None:
            stream = ReadableStream()
        case str():
            stream = ReadableStream.from_bytes(well_formed(value).encode())
        case bytes() | memoryview():
            stream = ReadableStream.from_bytes(bytes(value))
        case JsBlob():
            stream = ReadableStream.from_bytes(value._content)
        case ReadableStream():
            stream = value
        case _:
            raise JsTypeError(
                f"Failed to execute '{operation}' on 'R2Bucket': parameter {position} is not of "
                "type 'ReadableStream or ArrayBuffer or ArrayBufferView or string or Blob'."
            )
    return stream.chunks()


def _metadata_of(given: Options, holder: Holder, operation: str) -> Metadata:
    return Metadata(
        http=http_metadata_of(given.get("httpMetadata"), holder),
        custom=custom_metadata_of(given.get("customMetadata"), holder, operation),
    )


def _listing_of(given: Options, limit: int) -> Listing:
    cursor, after = given.get("cursor"), given.get("startAfter")
    starts = [] if after is None else [well_formed(str(after))]
    if cursor:
        starts.append(_decode_cursor(str(cursor)))
    return Listing(
        prefix=well_formed(str(given.get("prefix") or "")),
        after=max(starts, key=str.encode) if starts else None,
        delimiter=str(given.get("delimiter") or ""),
        limit=limit,
    )


def _decode_cursor(cursor: str) -> str:
    try:
        return base64.b64decode(cursor).decode("utf-8", "replace")
    except ValueError:  # nobody gave it; it stands somewhere
        return cursor


def _listed(stored: StoredObject, fields: frozenset[str]) -> R2Object:
    """Return an object of a listing, without the metadata that was not asked for."""
    listed = R2Object(stored, None)
    if "httpMetadata" not in fields:
        listed.httpMetadata = JsDict()
    if "customMetadata" not in fields:
        listed.customMetadata = JsDict()
    return listed
