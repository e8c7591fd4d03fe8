"""R2 buckets: objects, ranges, conditions, listings, uploads in parts."""

from __future__ import annotations

import asyncio
import re
import resource
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from ungated import make_resources
from workers import ReadableStream
from workers.headers import Headers

from dohost.clock import ManualClock
from dohost.errors import JsException, JsRangeError, JsTypeError
from dohost.simulators.r2 import R2Bucket
from dohost.simulators.r2_blobs import Blobs
from dohost.simulators.resources import Resources

MIB = 1024 * 1024
HELLO_MD5 = "5d41402abc4b2a76b9719d911017c592"


@pytest.fixture
def bucket(resources: Resources) -> R2Bucket:
    return resources.r2_bucket("photos")


def blobs(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "v3/r2/photos/blobs").glob("*"))


async def test_an_object_comes_back_with_what_is_known_of_it(
    bucket: R2Bucket, clock: ManualClock
) -> None:
    put = await bucket.put(
        "a", "hello", httpMetadata={"contentType": "text/plain"}, customMetadata={"x": "1"}
    )
    assert (put.key, put.size, put.etag, put.range) == ("a", 5, HELLO_MD5, None)
    got = await bucket.get("a")
    assert got.httpEtag == f'"{HELLO_MD5}"'
    assert got.uploaded == datetime(1970, 1, 1) + timedelta(seconds=clock.realtime_ns() // 10**9)
    assert (got.httpMetadata.contentType, got.customMetadata.x) == ("text/plain", "1")
    assert got.range == {"offset": 0, "length": 5}
    assert got.checksums.md5.to_bytes().hex() == HELLO_MD5
    assert (got.checksums.sha1, got.checksums.toJSON()) == (None, {"md5": HELLO_MD5})
    assert got.bodyUsed is False
    assert await got.text() == "hello"
    assert got.bodyUsed is True
    with pytest.raises(JsTypeError, match="Body has already been used"):
        await got.text()
    headers = Headers()
    got.writeHttpMetadata(headers)
    assert headers.get("content-type") == "text/plain"
    assert await bucket.get("zz") is None
    assert await bucket.head("zz") is None


async def test_bodies_of_every_kind(bucket: R2Bucket) -> None:
    for value, text in (
        (None, ""),
        ("é", "é"),
        (b"x", "x"),
        (ReadableStream.from_bytes(b"s"), "s"),
    ):
        await bucket.put("a", value)
        assert await (await bucket.get("a")).text() == text
    await bucket.put("j", '{"a": 1}')
    assert (await (await bucket.get("j")).json()).a == 1
    with pytest.raises(JsTypeError, match="parameter 2 is not of type 'ReadableStream or Array"):
        await bucket.put("a", {"a": 1})


@pytest.mark.parametrize(
    ("wanted", "part", "text"),
    [
        ({"offset": 1, "length": 2}, {"offset": 1, "length": 2}, "el"),
        ({"offset": 2}, {"offset": 2, "length": 3}, "llo"),
        ({"length": 2}, {"offset": 0, "length": 2}, "he"),
        ({"offset": 2, "length": 100}, {"offset": 2, "length": 3}, "llo"),
        ({"suffix": 2}, {"offset": 3, "length": 2}, "lo"),
        ({"suffix": 99}, {"offset": 0, "length": 5}, "hello"),
        (Headers({"range": "bytes=1-2"}), {"offset": 1, "length": 2}, "el"),
        (Headers({"range": "bytes=-2"}), {"offset": 3, "length": 2}, "lo"),
        (Headers({"range": "bytes=0-1,3-4"}), {"offset": 0, "length": 5}, "hello"),
    ],
)
async def test_ranges(bucket: R2Bucket, wanted: object, part: object, text: str) -> None:
    await bucket.put("a", "hello")
    got = await bucket.get("a", range=wanted)
    assert (got.range, await got.text()) == (part, text)


@pytest.mark.parametrize(
    ("wanted", "kind", "message"),
    [
        ({"offset": 50}, JsException, "get: The requested range is not satisfiable (10039)"),
        ({"suffix": 0}, JsException, "get: The requested range is not satisfiable (10039)"),
        ({"offset": 1, "length": 0}, JsException, "range is not satisfiable (10039)"),
        ({"offset": -1}, JsRangeError, "Starting offset (-1) must be greater than or equal to 0."),
        ({"suffix": 1, "offset": 1}, JsTypeError, "Suffix is incompatible with offset."),
    ],
)
async def test_ranges_that_are_refused(bucket: R2Bucket, wanted, kind, message: str) -> None:
    await bucket.put("a", "hello")
    with pytest.raises(kind, match=re.escape(message)):
        await bucket.get("a", {"range": wanted})


def naive(clock: ManualClock, seconds: float) -> datetime:
    return datetime(1970, 1, 1) + timedelta(seconds=clock.realtime_ns() // 10**9 + seconds)


async def test_conditions_of_get(bucket: R2Bucket, clock: ManualClock) -> None:
    await bucket.put("a", "hello")
    quoted = f'"{HELLO_MD5}"'
    for condition, holds in (
        ({"etagMatches": HELLO_MD5}, True),
        ({"etagMatches": "zz"}, False),
        ({"etagDoesNotMatch": HELLO_MD5}, False),
        ({"uploadedBefore": naive(clock, -1)}, False),
        ({"uploadedAfter": naive(clock, -1)}, True),
        ({"uploadedAfter": naive(clock, 1)}, False),
        (Headers({"if-none-match": f'"zz", W/{quoted}'}), False),
        (Headers({"if-match": "*"}), True),
    ):
        got = await bucket.get("a", onlyIf=condition)
        assert (got.body is not None) is holds, condition
        assert got.key == "a"
    with pytest.raises(JsTypeError, match="should not be wrapped in quotes"):
        await bucket.get("a", onlyIf={"etagMatches": quoted})


async def test_a_put_whose_condition_fails_changes_nothing(
    bucket: R2Bucket, tmp_path: Path
) -> None:
    only_new = Headers({"if-none-match": "*"})
    assert (await bucket.put("a", "first", onlyIf=only_new)).size == 5
    assert await bucket.put("a", "second", {"onlyIf": only_new}) is None
    assert await bucket.put("b", "x", onlyIf={"etagMatches": "zz"}) is None
    assert await (await bucket.get("a")).text() == "first"
    assert len(blobs(tmp_path)) == 1


async def test_a_put_may_name_a_digest(bucket: R2Bucket) -> None:
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    put = await bucket.put("a", "x", sha256=digest)
    assert put.checksums.toJSON()["sha256"] == digest
    with pytest.raises(JsException) as caught:
        await bucket.put("b", "x", md5="0" * 32)
    assert caught.value.message == (
        "put: The MD5 checksum you specified did not match what we received.\n"
        f"You provided a MD5 checksum with value: {'0' * 32}\n"
        "Actual MD5 was: 9dd4e461268c8034f5c8564e155c67a6 (10037)"
    )
    assert await bucket.head("b") is None
    with pytest.raises(JsTypeError, match="MD5 is 32 hex characters, not 2"):
        await bucket.put("b", "x", md5="00")
    with pytest.raises(JsTypeError, match="multiple hashing algorithms"):
        await bucket.put("b", "x", md5="0" * 32, sha1="0" * 40)


async def test_limits_of_names_and_metadata(bucket: R2Bucket) -> None:
    await bucket.put("k" * 1024, "x", customMetadata={"a": "y" * 2047})
    with pytest.raises(JsException, match=re.escape("object name is not valid. (10020)")):
        await bucket.put("k" * 1025, "x")
    with pytest.raises(JsException, match=re.escape("maximum allowed metadata size. (10012)")):
        await bucket.put("a", "x", customMetadata={"a": "y" * 2048})
    for limit in (0, 1001):
        with pytest.raises(JsException, match=re.escape("MaxKeys params must be positive")):
            await bucket.list(limit=limit)


async def test_listings(bucket: R2Bucket) -> None:
    for key in ("e", "d/b", "a", "d/a", "d/c/x"):
        await bucket.put(key, "x", customMetadata={"k": key})
    grouped = await bucket.list(delimiter="/")
    assert [each.key for each in grouped.objects] == ["a", "e"]
    assert grouped.delimitedPrefixes == ["d/"]
    inside = await bucket.list({"delimiter": "/", "prefix": "d/"})
    assert ([each.key for each in inside.objects], inside.delimitedPrefixes) == (
        ["d/a", "d/b"],
        ["d/c/"],
    )
    assert [each.key for each in (await bucket.list(startAfter="d/b")).objects] == ["d/c/x", "e"]
    first = await bucket.list(limit=2, include=["customMetadata"])
    assert [each.customMetadata.k for each in first.objects] == ["a", "d/a"]
    rest = await bucket.list(cursor=first.cursor)
    assert (first.truncated, rest.truncated) == (True, False)
    assert [each.key for each in rest.objects] == ["d/b", "d/c/x", "e"]
    assert rest.objects[0].customMetadata == {}
    page = await bucket.list(delimiter="/", limit=2)
    assert ([each.key for each in page.objects], page.delimitedPrefixes) == (["a"], ["d/"])
    assert [each.key for each in (await bucket.list(cursor=page.cursor)).objects] == ["e"]


async def test_deleting_removes_the_bytes(bucket: R2Bucket, tmp_path: Path) -> None:
    for key in ("a", "b", "c"):
        await bucket.put(key, "x")
    await bucket.delete("a")
    await bucket.delete(["b", "zz"])
    assert [each.key for each in (await bucket.list()).objects] == ["c"]
    assert len(blobs(tmp_path)) == 1


async def test_a_body_that_is_being_read_survives_its_replacement(
    resources: Resources, bucket: R2Bucket, tmp_path: Path
) -> None:
    await bucket.put("a", "x" * MIB)
    got = await bucket.get("a")
    reader = got.body.getReader()
    first = await reader.read()
    await bucket.put("a", "new")
    size = len(first.value)
    while not (step := await reader.read()).done:
        size += len(step.value)
    assert size == MIB
    await resources.close()
    assert len(blobs(tmp_path)) == 1


async def test_a_body_that_fails_leaves_the_object_of_before(
    bucket: R2Bucket, tmp_path: Path
) -> None:
    async def broken():
        yield b"x"
        raise ValueError("gone")

    await bucket.put("a", "before")
    with pytest.raises(ValueError, match="gone"):
        await bucket.put("a", ReadableStream.from_async_iterable(broken()))
    assert await (await bucket.get("a")).text() == "before"
    assert len(blobs(tmp_path)) == 1


async def test_a_full_disk_leaves_nothing_of_a_body_behind(
    bucket: R2Bucket, tmp_path: Path
) -> None:
    async def endless():
        while True:
            # Less than a buffer holds, so that closing the file has something left to write.
            yield b"x" * 1000

    await bucket.put("a", "before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, limits[1]))
    try:
        with pytest.raises(JsException, match=re.escape("put: File too large (10001)")):
            await bucket.put("a", ReadableStream.from_async_iterable(endless()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert await (await bucket.get("a")).text() == "before"
    assert len(blobs(tmp_path)) == 1


async def test_an_upload_in_parts(bucket: R2Bucket, tmp_path: Path) -> None:
    upload = await bucket.createMultipartUpload("mp", httpMetadata={"contentType": "x/y"})
    second = await upload.uploadPart(2, "y")
    await upload.uploadPart(1, "z")
    first = await upload.uploadPart(1, "x" * (5 * MIB))
    again = bucket.resumeMultipartUpload("mp", upload.uploadId)
    done = await again.complete([second, first])
    assert (done.size, len(done.etag), done.etag[-2:]) == (5 * MIB + 1, 34, "-2")
    assert (done.checksums.toJSON(), done.httpMetadata.contentType) == ({}, "x/y")
    got = await bucket.get("mp", range={"offset": 5 * MIB - 1})
    assert await got.text() == "xy"
    assert len(blobs(tmp_path)) == 2
    with pytest.raises(JsException, match=re.escape("upload does not exist. (10024)")):
        await upload.complete([first])


async def test_uploads_that_are_refused(bucket: R2Bucket, tmp_path: Path) -> None:
    upload = await bucket.createMultipartUpload("mp")
    parts = [await upload.uploadPart(n, "x") for n in (1, 2)]
    with pytest.raises(JsException, match=re.escape("smaller than the minimum allowed")):
        await upload.complete(parts)
    with pytest.raises(JsException, match=re.escape("parts could not be found. (10025)")):
        await upload.complete([{"partNumber": 1, "etag": "zz"}])
    with pytest.raises(JsTypeError, match=re.escape("Actual value was: 10001")):
        await upload.uploadPart(10_001, "x")
    await upload.abort()
    await upload.abort()
    with pytest.raises(JsException, match=re.escape("uploadPart: The specified multipart upload")):
        await upload.uploadPart(1, "x")
    unknown = bucket.resumeMultipartUpload("mp", "bad")
    with pytest.raises(JsException, match=re.escape("abortMultipartUpload: We encountered")):
        await unknown.abort()
    assert blobs(tmp_path) == []


async def test_what_a_crash_left_is_removed_and_rows_are_readable(
    tmp_path: Path, clock: ManualClock
) -> None:
    resources = make_resources(tmp_path, clock)
    await resources.r2_bucket("photos").put("a", "x")
    await resources.close()
    (tmp_path / "v3/r2/photos/blobs/orphan").write_bytes(b"half")
    reader = sqlite3.connect(tmp_path / "v3/r2/photos/objects.sqlite")
    assert reader.execute("SELECT key, size FROM objects").fetchall() == [("a", 1)]
    reader.close()
    resources = make_resources(tmp_path, clock, seed=2)
    try:
        await resources.r2_bucket("photos").put("b", "y")
        assert await (await resources.r2_bucket("photos").get("a")).text() == "x"
    finally:
        await resources.close()
    assert len(blobs(tmp_path)) == 2


async def test_a_put_writes_nothing_until_what_an_earlier_run_left_is_removed(
    bucket: R2Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    write, remove_others = Blobs.write, Blobs.remove_others

    async def noted_write(blobs: Blobs, *arguments: object) -> object:
        order.append("write")
        return await write(blobs, *arguments)

    async def noted_remove(blobs: Blobs, known: object) -> None:
        order.append("remove")
        await remove_others(blobs, known)

    monkeypatch.setattr(Blobs, "write", noted_write)
    monkeypatch.setattr(Blobs, "remove_others", noted_remove)
    await asyncio.gather(bucket.put("a", "a"), bucket.put("b", "b"))
    assert order == ["remove", "write", "write"]
    assert [await (await bucket.get(key)).text() for key in "ab"] == ["a", "b"]
