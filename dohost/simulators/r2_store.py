"""What an R2 bucket keeps: a row per object in `<persist>/v3/r2/<bucket>/objects.sqlite`, bytes beside it.

A put that is acknowledged is whole and on the disk; one that is cut off leaves the object of before.
Conditions are decided in the transaction that acts on them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from dohost.clock import Clock, Entropy
from dohost.simulators.failures import is_unknown
from dohost.simulators.files import SimulatorFile, Transaction
from dohost.simulators.key_ranges import IN_RANGE, range_behind
from dohost.simulators.r2_arguments import HASH_NAMES, OBJECT_BYTES_MAX, PART_BYTES_MIN, failed
from dohost.simulators.r2_blobs import BlobReader, Blobs, Piece, Written
from dohost.simulators.r2_conditions import Condition
from dohost.simulators.r2_ranges import Slice
from dohost.simulators.r2_rows import COLUMNS, HttpMetadata, StoredObject, stored_object, to_json

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS objects (
         key TEXT PRIMARY KEY, version TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
         uploaded_ms INTEGER NOT NULL, checksums TEXT NOT NULL, http_metadata TEXT NOT NULL,
         custom_metadata TEXT NOT NULL, blobs TEXT NOT NULL) STRICT""",
    """CREATE TABLE IF NOT EXISTS uploads (
         upload_id TEXT PRIMARY KEY, key TEXT NOT NULL, http_metadata TEXT NOT NULL,
         custom_metadata TEXT NOT NULL, is_open INTEGER NOT NULL) STRICT""",
    """CREATE TABLE IF NOT EXISTS parts (
         upload_id TEXT NOT NULL, part_number INTEGER NOT NULL, blob TEXT NOT NULL,
         size INTEGER NOT NULL, etag TEXT NOT NULL, md5 TEXT NOT NULL,
         PRIMARY KEY (upload_id, part_number)) STRICT""",
)
_PUT = f"INSERT OR REPLACE INTO objects ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_GET = f"SELECT {COLUMNS} FROM objects WHERE key = ?"
_LISTED_AT_ONCE = 1000


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller says about an object."""

    http: HttpMetadata
    custom: dict[str, str]


class Published(msgspec.Struct, frozen=True):
    """A part that a caller names when it completes an upload."""

    number: int
    etag: str


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys to list."""

    prefix: str
    after: str | None
    delimiter: str
    limit: int


class R2Store:
    """The objects of one bucket."""

    def __init__(self, directory: Path, *, clock: Clock, entropy: Entropy) -> None:
        self.directory = directory
        self._clock = clock
        self._entropy = entropy
        self._file = SimulatorFile(directory / "objects.sqlite", SCHEMA)
        self._blobs = Blobs(directory / "blobs", entropy)
        self._cleaning = asyncio.Lock()
        self._is_clean = False

    async def head(self, key: str) -> StoredObject | None:
        """Return what is known of an object."""
        rows = await self._file.rows(_GET, (key,))
        return stored_object(rows[0]) if rows else None

    def read(self, stored: StoredObject, wanted: Slice) -> BlobReader:
        """Return some bytes of an object, in pieces."""
        pieces: list[Piece] = []
        start = 0
        for blob, size in stored.blobs:
            first = max(wanted.offset - start, 0)
            last = min(wanted.offset + wanted.length - start, size)
            if first < last:
                pieces.append(Piece(blob, first, last - first))
            start += size
        return self._blobs.read(pieces)

    async def put(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        *,
        metadata: Metadata,
        check: tuple[str, str] | None,
        condition: Condition | None,
    ) -> StoredObject | None:
        """Set an object, durably; None if `condition` does not hold. Raises: JsException."""
        await self._clean()
        written = await self._blobs.write(
            _within_limit(chunks), {"md5", *([check[0]] if check else ())}
        )
        try:
            stored: StoredObject | None = self._made_of(key, written, metadata, check)
            async with self._file.transaction() as transaction:
                old = await _find(transaction, key)
                if condition is not None and not _holds(condition, old):
                    stored = None
                if stored is not None:
                    await transaction.execute(_PUT, stored.row())
        except BaseException as error:
            await self._drop_unless_named(written, error)
            raise
        await self._blobs.remove((written.name,) if stored is None else _names(old))
        return stored

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget objects, durably."""
        removed: list[str] = []
        async with self._file.transaction() as transaction:
            for key in keys:
                removed += _names(await _find(transaction, key))
                await transaction.execute("DELETE FROM objects WHERE key = ?", (key,))
        await self._blobs.remove(removed)

    async def list(self, listing: Listing) -> tuple[list[StoredObject], list[str], str | None]:
        """Return objects, the prefixes up to the delimiter, and the key to go on behind."""
        objects: list[StoredObject] = []
        prefixes: list[str] = []
        after, last = listing.after, listing.after
        while True:
            rows = await self._file.rows(
                f"SELECT {COLUMNS} FROM objects WHERE {IN_RANGE} ORDER BY key LIMIT ?",
                (*range_behind(listing.prefix, after), _LISTED_AT_ONCE),
            )
            for stored in map(stored_object, rows):
                group = _group(stored.key, listing)
                is_known = group is not None and prefixes[-1:] == [group]
                if not is_known and len(objects) + len(prefixes) == listing.limit:
                    return objects, prefixes, last
                if group is None:
                    objects.append(stored)
                elif not is_known:
                    prefixes.append(group)
                after = last = stored.key
            if len(rows) < _LISTED_AT_ONCE:
                return objects, prefixes, None

    # Multipart uploads ----------------------------------------------------------------------

    async def create_upload(self, key: str, metadata: Metadata) -> str:
        """Begin an upload and return its id."""
        upload_id = self._entropy.token(32).hex()
        async with self._file.transaction() as transaction:
            await transaction.execute(
                "INSERT INTO uploads (upload_id, key, http_metadata, custom_metadata, is_open) "
                "VALUES (?, ?, ?, ?, 1)",
                (upload_id, key, to_json(metadata.http), to_json(metadata.custom)),
            )
        return upload_id

    async def upload_part(
        self, key: str, upload_id: str, number: int, chunks: AsyncIterator[bytes]
    ) -> str:
        """Keep one part, durably, and return its etag. Raises: JsException."""
        await self._clean()
        written = await self._blobs.write(chunks, ("md5",))
        etag = self._entropy.token(16).hex()
        try:
            async with self._file.transaction() as transaction:
                upload = await _upload(transaction, key, upload_id)
                if upload is None or not upload[2]:
                    raise failed("uploadPart", 10024)
                old = await transaction.rows(
                    "SELECT blob FROM parts WHERE upload_id = ? AND part_number = ?",
                    (upload_id, number),
                )
                await transaction.execute(
                    "INSERT OR REPLACE INTO parts (upload_id, part_number, blob, size, etag, md5) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (upload_id, number, written.name, written.size, etag, written.digests["md5"]),
                )
        except BaseException as error:
            await self._drop_unless_named(written, error)
            raise
        await self._blobs.remove([str(row[0]) for row in old])
        return etag

    async def complete_upload(
        self, key: str, upload_id: str, published: Sequence[Published]
    ) -> StoredObject:
        """Make an object of parts, durably. Raises: JsException."""
        async with self._file.transaction() as transaction:
            upload = await _upload(transaction, key, upload_id)
            if upload is None or len({part.number for part in published}) != len(published):
                raise failed("completeMultipartUpload", 10001)
            if not upload[2]:
                raise failed("completeMultipartUpload", 10024)
            parts = await _parts(transaction, upload_id)
            chosen = _chosen(parts, published)
            md5s = b"".join(bytes.fromhex(part.md5) for part in chosen)
            digest = hashlib.md5(md5s, usedforsecurity=False).hexdigest()
            stored = StoredObject(
                key=key,
                version=self._entropy.token(16).hex(),
                size=sum(part.size for part in chosen),
                etag=f"{digest}-{len(chosen)}",
                uploaded_ms=self._now_ms(),
                checksums={},
                http_metadata=upload[0],
                custom_metadata=upload[1],
                blobs=tuple((part.blob, part.size) for part in chosen),
            )
            old = await _find(transaction, key)
            await transaction.execute(_PUT, stored.row())
            await _end_upload(transaction, upload_id)
        used = {part.blob for part in chosen}
        await self._blobs.remove([*_names(old), *({part.blob for part in parts} - used)])
        return stored

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Give an upload up; a second time does nothing. Raises: JsException if there is none."""
        async with self._file.transaction() as transaction:
            if await _upload(transaction, key, upload_id) is None:
                raise failed("abortMultipartUpload", 10001)
            parts = await _parts(transaction, upload_id)
            await _end_upload(transaction, upload_id)
        await self._blobs.remove([part.blob for part in parts])

    @property
    def is_busy(self) -> bool:
        """Whether a thread works for it now."""
        return self._file.is_busy or self._blobs.is_busy

    async def close(self) -> None:
        """Close the file when every blob is removed that should be."""
        await self._blobs.settled()
        await self._file.close()

    def _made_of(
        self, key: str, written: Written, metadata: Metadata, check: tuple[str, str] | None
    ) -> StoredObject:
        if check is not None and written.digests[check[0]] != check[1]:
            name = HASH_NAMES[check[0]]
            raise failed(
                "put",
                10037,
                f"The {name} checksum you specified did not match what we received.\n"
                f"You provided a {name} checksum with value: {check[1]}\n"
                f"Actual {name} was: {written.digests[check[0]]}",
            )
        return StoredObject(
            key=key,
            version=self._entropy.token(16).hex(),
            size=written.size,
            etag=written.digests["md5"],
            uploaded_ms=self._now_ms(),
            checksums=written.digests,
            http_metadata=metadata.http,
            custom_metadata=metadata.custom,
            blobs=((written.name, written.size),),
        )

    async def _drop_unless_named(self, written: Written, error: BaseException) -> None:
        """Remove a blob whose row could not be written; one that a row may yet name stays."""
        # A cancelled COMMIT goes on in its thread.
        if isinstance(error, Exception) and not is_unknown(error):
            await self._blobs.remove((written.name,))

    async def _clean(self) -> None:
        """Before the first blob of this run: remove what an earlier one left. Others wait for that."""
        async with self._cleaning:
            if self._is_clean:
                return
            known = [str(row[0]) for row in await self._file.rows("SELECT blob FROM parts")]
            for row in await self._file.rows("SELECT blobs FROM objects"):
                pairs = msgspec.json.decode(str(row[0]), type=list[tuple[str, int]])
                known += [name for name, _ in pairs]
            await self._blobs.remove_others(frozenset(known))
            self._is_clean = True

    def _now_ms(self) -> int:
        return self._clock.realtime_ns() // 1_000_000


class _Part(msgspec.Struct, frozen=True):
    number: int
    blob: str
    size: int
    etag: str
    md5: str


def _chosen(parts: Sequence[_Part], published: Sequence[Published]) -> list[_Part]:
    """Return the parts that make the object, in order. Raises: JsException."""
    by_number = {part.number: part for part in parts}
    chosen: list[_Part] = []
    for each in published:
        part = by_number.get(each.number)
        if part is None or part.etag != each.etag:
            raise failed("completeMultipartUpload", 10025)
        chosen.append(part)
    chosen.sort(key=lambda part: part.number)
    if any(part.size < PART_BYTES_MIN for part in chosen[:-1]):
        raise failed("completeMultipartUpload", 10011)
    sizes = {part.size for part in chosen[:-1]}
    if len(sizes) > 1 or (sizes and chosen[-1].size > max(sizes)):
        raise failed("completeMultipartUpload", 10048)
    return chosen


async def _within_limit(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass a body on. Raises: JsException when it gets longer than an object may be."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > OBJECT_BYTES_MAX:
            raise failed("put", 100100)
        yield chunk


def _group(key: str, listing: Listing) -> str | None:
    if not listing.delimiter:
        return None
    at = key.find(listing.delimiter, len(listing.prefix))
    return None if at < 0 else key[: at + len(listing.delimiter)]


def _holds(condition: Condition, old: StoredObject | None) -> bool:
    return condition.holds_for_none if old is None else condition.holds(old.etag, old.uploaded_ms)


def _names(stored: StoredObject | None) -> list[str]:
    return [] if stored is None else [name for name, _ in stored.blobs]


async def _find(transaction: Transaction, key: str) -> StoredObject | None:
    rows = await transaction.rows(_GET, (key,))
    return stored_object(rows[0]) if rows else None


async def _upload(
    transaction: Transaction, key: str, upload_id: str
) -> tuple[HttpMetadata, dict[str, str], bool] | None:
    rows = await transaction.rows(
        "SELECT http_metadata, custom_metadata, is_open FROM uploads "
        "WHERE upload_id = ? AND key = ?",
        (upload_id, key),
    )
    if not rows:
        return None
    http, custom, is_open = rows[0]
    return (
        msgspec.json.decode(str(http), type=HttpMetadata),
        msgspec.json.decode(str(custom), type=dict[str, str]),
        bool(is_open),
    )


async def _parts(transaction: Transaction, upload_id: str) -> list[_Part]:
    rows = await transaction.rows(
        "SELECT part_number, blob, size, etag, md5 FROM parts WHERE upload_id = ?", (upload_id,)
    )
    return [_Part(*row) for row in msgspec.convert(rows, list[tuple[int, str, int, str, str]])]


async def _end_upload(transaction: Transaction, upload_id: str) -> None:
    await transaction.execute("DELETE FROM parts WHERE upload_id = ?", (upload_id,))
    await transaction.execute("UPDATE uploads SET is_open = 0 WHERE upload_id = ?", (upload_id,))
