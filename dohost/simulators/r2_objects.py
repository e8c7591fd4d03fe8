"""An R2 object as Worker code holds it: what is known of it and, from `get`, its body as a stream."""

from __future__ import annotations

import builtins

from workers.blob import Blob
from workers.headers import Headers
from workers.streams import ReadableStream
from workers.values import ArrayBuffer, JsDict, Transferable

from dohost.errors import JsTypeError
from dohost.simulators.r2_arguments import HASHES, write_http_metadata
from dohost.simulators.r2_ranges import Slice
from dohost.simulators.r2_rows import StoredObject
from dohost.simulators.text import parse_json
from dohost.simulators.times import date_of

USED = (
    "Body has already been used. It can only be used once. Use tee() first if you need to read it "
    "twice."
)


class R2Checksums:
    """The digests of an object as buffers; None for those that were not asked for at the put."""

    def __init__(self, digests: dict[str, str]) -> None:
        self._digests = digests

    def __getattr__(self, name: str) -> ArrayBuffer | None:
        if name not in HASHES:
            raise AttributeError(name)
        digest = self._digests.get(name)
        return None if digest is None else ArrayBuffer(bytes.fromhex(digest))

    def toJSON(self) -> JsDict:
        """Return the digests in hex."""
        return JsDict(self._digests)


class R2Object(Transferable):
    """What is known of an object; `uploaded` is naive, UTC."""

    def __init__(self, stored: StoredObject, part: Slice | None) -> None:
        http: dict[str, object] = dict(stored.http_metadata)
        if "cacheExpiry" in http:
            http["cacheExpiry"] = date_of(int(stored.http_metadata["cacheExpiry"]))
        self._stored = stored
        self.key = stored.key
        self.version = stored.version
        self.size = stored.size
        self.etag = stored.etag
        self.httpEtag = f'"{stored.etag}"'
        self.uploaded = date_of(stored.uploaded_ms)
        self.httpMetadata = JsDict(http)
        self.customMetadata = JsDict(stored.custom_metadata)
        self.range = None if part is None else JsDict(offset=part.offset, length=part.length)
        self.checksums = R2Checksums(stored.checksums)
        self.storageClass = "Standard"
        # An object that comes without a body says so, as JavaScript's undefined does.
        self.body: ReadableStream | None = None

    def writeHttpMetadata(self, headers: Headers) -> None:
        """Set the header fields that the object's HTTP metadata stands for."""
        write_http_metadata(self._stored.http_metadata, headers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key!r}, {self.size} bytes>"


class R2ObjectBody(R2Object):
    """An object with its bytes, which are read once."""

    def __init__(self, stored: StoredObject, part: Slice, body: ReadableStream) -> None:
        super().__init__(stored, part)
        self.body: ReadableStream = body

    @property
    def bodyUsed(self) -> bool:
        """Whether the body was read, even in part."""
        return self.body.is_disturbed

    async def bytes(self) -> memoryview:
        """Read the body as bytes."""
        return memoryview(await self._read())

    async def arrayBuffer(self) -> ArrayBuffer:
        """Read the body as a buffer."""
        return ArrayBuffer(await self._read())

    async def text(self) -> str:
        """Read the body as UTF-8."""
        return (await self._read()).decode("utf-8", "replace")

    async def json(self) -> object:
        """Read the body as JSON. Raises: JsException, a SyntaxError."""
        return parse_json(await self.text())

    async def blob(self) -> Blob:
        """Read the body as a Blob with its content type."""
        content_type = self._stored.http_metadata.get("contentType")
        return Blob([await self._read()], None if content_type is None else str(content_type))

    async def _read(self) -> builtins.bytes:
        if self.bodyUsed:
            raise JsTypeError(USED)
        return await self.body.read_all()
