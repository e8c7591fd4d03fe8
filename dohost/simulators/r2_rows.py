"""An R2 object as the row that it is in the bucket's file."""

from __future__ import annotations

import msgspec

from dohost.simulators.files import Row

COLUMNS = "key, version, size, etag, uploaded_ms, checksums, http_metadata, custom_metadata, blobs"

HttpMetadata = dict[str, str | int]


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """A row: what is known of an object, and the blobs that it is made of with their sizes."""

    key: str
    version: str
    size: int
    etag: str
    uploaded_ms: int
    checksums: dict[str, str]
    http_metadata: HttpMetadata
    custom_metadata: dict[str, str]
    blobs: tuple[tuple[str, int], ...]

    def row(self) -> tuple[object, ...]:
        """Return the columns."""
        return (
            self.key,
            self.version,
            self.size,
            self.etag,
            self.uploaded_ms,
            to_json(self.checksums),
            to_json(self.http_metadata),
            to_json(self.custom_metadata),
            to_json(self.blobs),
        )


def stored_object(row: Row) -> StoredObject:
    """Return the object of a row with `COLUMNS`."""
    key, version, size, etag, uploaded_ms, checksums, http, custom, blobs = msgspec.convert(
        row, tuple[str, str, int, str, int, str, str, str, str]
    )
    return StoredObject(
        key=key,
        version=version,
        size=size,
        etag=etag,
        uploaded_ms=uploaded_ms,
        checksums=msgspec.json.decode(checksums, type=dict[str, str]),
        http_metadata=msgspec.json.decode(http, type=HttpMetadata),
        custom_metadata=msgspec.json.decode(custom, type=dict[str, str]),
        blobs=msgspec.json.decode(blobs, type=tuple[tuple[str, int], ...]),
    )


def to_json(value: object) -> str:
    """Return a column's value for a mapping or a list."""
    return msgspec.json.encode(value).decode()
