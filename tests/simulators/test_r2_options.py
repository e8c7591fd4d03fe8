"""Options of R2's operations: ranges, conditions, metadata, digests; in the words of Cloudflare's runtime."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workers.headers import Headers

from dohost.clock import ManualClock
from dohost.errors import JsException, JsRangeError, JsTypeError
from dohost.simulators import r2_store
from dohost.simulators.r2 import R2Bucket
from dohost.simulators.r2_conditions import Condition, condition_of
from dohost.simulators.r2_ranges import range_of, slice_of
from dohost.simulators.resources import Resources
from dohost.simulators.times import date_of, http_date_ms, milliseconds_of

HELLO_MD5 = "5d41402abc4b2a76b9719d911017c592"
OLD, NEW = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2099 07:28:00 GMT"


@pytest.fixture
async def bucket(resources: Resources) -> R2Bucket:
    bucket = resources.r2_bucket("photos")
    await bucket.put("a", "hello")
    return bucket


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("bytes=1-3", "ell"),
        ("Bytes = 1 - 3", "ell"),
        ("bytes=1-", "ello"),
        ("bytes=-300", "hello"),
        ("bytes=3-1", "hello"),
        ("bytes=50-60", "hello"),
        ("bytes=50-", "hello"),
        ("bytes=-0", "hello"),
        ("bytes=-", "hello"),
        ("lines=1-2", "hello"),
    ],
)
async def test_a_range_header_that_cannot_be_satisfied_gives_everything(
    bucket: R2Bucket, header: str, text: str
) -> None:
    got = await bucket.get("a", range=Headers({"range": header}))
    assert await got.text() == text


async def test_a_range_of_an_empty_object(bucket: R2Bucket) -> None:
    await bucket.put("empty", "")
    got = await bucket.get("empty", range=Headers({"range": "bytes=0-"}))
    assert (await got.text(), got.range) == ("", {"offset": 0, "length": 0})
    with pytest.raises(JsException, match="not satisfiable"):
        await bucket.get("empty", range={"suffix": 2})


@pytest.mark.parametrize(
    ("wanted", "kind", "message"),
    [
        ("abc", JsTypeError, "the provided value is not of type 'Range or Headers'."),
        ({"offset": 1.9}, JsRangeError, "Starting offset (1.9) must be an integer, not floating"),
        ({"length": 1.9}, JsRangeError, "Length (1.9) must be an integer, not floating point."),
        ({"suffix": 1.5}, JsRangeError, "Suffix (1.5) must be an integer, not floating point."),
        ({"length": -1}, JsRangeError, "Length (-1) must be greater than or equal to 0."),
        ({"suffix": -1}, JsRangeError, "Invalid suffix. Suffix (-1) must be greater than or equal"),
        ({"offset": "x"}, JsRangeError, "Starting offset (nan) must be greater than or equal to 0"),
    ],
)
def test_ranges_are_checked_at_the_call(wanted: object, kind, message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        range_of(wanted)


@given(
    offset=st.none() | st.integers(0, 12) | st.just(float("inf")),
    length=st.none() | st.integers(0, 12) | st.just(float("inf")),
    size=st.integers(0, 10),
)
def test_a_range_is_what_a_slice_of_the_bytes_is(
    offset: float | None, length: float | None, size: int
) -> None:
    content = bytes(range(size))
    start = 20 if offset == float("inf") else int(offset or 0)
    end = size if length in (None, float("inf")) else start + int(length)
    wanted = range_of({"offset": offset, "length": length})
    if content[start:end]:
        part = slice_of(wanted, size)
        assert content[part.offset :][: part.length] == content[start:end]
    else:
        with pytest.raises(JsException, match="not satisfiable"):
            slice_of(wanted, size)


@pytest.mark.parametrize(
    ("name", "header", "holds"),
    [
        ("if-match", f'"{HELLO_MD5}"', True),
        ("if-match", f'W/"{HELLO_MD5}"', False),
        ("if-match", f'"a", , "{HELLO_MD5}"', True),
        ("if-match", f'"a,", "{HELLO_MD5}"', True),
        ("if-match", '"a", *', True),
        ("if-match", '""', False),
        ("if-match", '"a",b', False),
        ("if-none-match", f'W/"{HELLO_MD5}"', False),
        ("if-none-match", '"a", W/"b"', True),
        ("if-modified-since", OLD, True),
        ("if-modified-since", NEW, False),
        ("if-modified-since", "2099-01-01T00:00:00Z", False),
        ("if-modified-since", "nonsense", True),
        ("if-unmodified-since", OLD, False),
        ("if-unmodified-since", NEW, True),
        ("if-unmodified-since", "", False),
    ],
)
def test_conditions_in_header_fields(name: str, header: str, holds: bool) -> None:
    condition = condition_of(Headers({name: header}), "GetOptions")
    assert condition is not None
    assert condition.holds(HELLO_MD5, http_date_ms("Thu, 01 Jan 2026 00:00:00 GMT")) is holds


@pytest.mark.parametrize("header", ["", " ", "abc", 'x"abc"', 'W/a, "b"', '"a', '"a" "b"', 'w/"a"'])
@pytest.mark.parametrize("name", ["if-match", "if-none-match"])
def test_a_field_without_an_etag_is_refused(name: str, header: str) -> None:
    with pytest.raises(JsException, match=f"Invalid ETag in {name} header"):
        condition_of(Headers({name: header}), "GetOptions")


async def test_conditions_of_a_wrong_type_never_pass_for_none(bucket: R2Bucket) -> None:
    with pytest.raises(JsTypeError, match=r"'onlyIf' field on 'PutOptions'.*'Conditional or Head"):
        await bucket.put("a", "new", onlyIf=HELLO_MD5)
    with pytest.raises(JsTypeError, match=r"'etagMatches' field on 'Conditional'.*'string'"):
        await bucket.put("a", "new", onlyIf={"etagMatches": [HELLO_MD5]})
    assert await (await bucket.get("a")).text() == "hello"


@given(milliseconds=st.integers(0, 4_102_444_800_000))
def test_a_moment_that_a_program_saw_comes_back_as_the_same_millisecond(milliseconds: int) -> None:
    assert milliseconds_of(date_of(milliseconds)) == milliseconds


async def test_an_object_was_not_uploaded_after_its_own_time(
    bucket: R2Bucket, clock: ManualClock
) -> None:
    for _ in range(50):
        clock.advance(0.001)
        put = await bucket.put("a", "hello")
        got = await bucket.get("a", onlyIf={"uploadedAfter": put.uploaded})
        assert got.body is None, put.uploaded
        assert await bucket.put("a", "x", onlyIf={"uploadedBefore": put.uploaded}) is None


def test_seconds_are_cut_off_on_both_sides() -> None:
    condition = Condition(before_ms=5_900, in_seconds=True)
    assert [condition.holds("x", ms) for ms in (4_999, 5_000, 5_100)] == [True, False, False]


def test_a_date_without_a_zone_is_utc() -> None:
    assert http_date_ms("Sun Nov  6 08:49:37 1994") == 784_111_777_000
    assert http_date_ms("Sunday, 06-Nov-94 08:49:37 GMT") == 784_111_777_000


async def test_an_expires_that_is_no_date_is_long_ago(bucket: R2Bucket) -> None:
    for text in ("0", "-1", "nonsense"):
        put = await bucket.put("a", "x", httpMetadata=Headers({"expires": text}))
        assert put.httpMetadata.cacheExpiry < datetime(2002, 1, 1)
    moment = datetime(2030, 1, 1) + timedelta(milliseconds=1)
    put = await bucket.put("a", "x", httpMetadata={"cacheExpiry": moment})
    assert put.httpMetadata.cacheExpiry == moment


async def test_metadata_is_kept_as_the_text_that_javascript_makes_of_it(bucket: R2Bucket) -> None:
    for value, text in (
        ([1, [2, None], "x", {"b": 1}], "1,2,,x,[object Object]"),
        ({"b": 1}, "[object Object]"),
        (b"ab", "97,98"),
        (
            datetime(1970, 1, 1, 0, 0, 1),
            "Thu Jan 01 1970 00:00:01 GMT+0000 (Coordinated Universal Time)",
        ),
    ):
        put = await bucket.put("a", "x", customMetadata={"m": value})
        assert put.customMetadata.m == text
    put = await bucket.put("a", "x", httpMetadata={"contentType": ["a/b"]})
    assert put.httpMetadata.contentType == "a/b"


async def test_metadata_of_a_wrong_type_is_refused(bucket: R2Bucket) -> None:
    with pytest.raises(JsTypeError, match=r"'customMetadata' field on 'PutOptions'.*'object'"):
        await bucket.put("a", "x", customMetadata="abc")
    with pytest.raises(JsTypeError, match=r"'httpMetadata' field on 'MultipartOptions'.*'HttpMeta"):
        await bucket.createMultipartUpload("a", httpMetadata=5)


@pytest.mark.parametrize(
    ("fits", "does_not"),
    [("y" * 2047, "y" * 2048), ("é" * 2047, "é" * 2048), ("中" * 1023, "中" * 1024)],
)
async def test_metadata_counts_one_for_a_latin_character_and_two_for_others(
    bucket: R2Bucket, fits: str, does_not: str
) -> None:
    await bucket.put("a", "x", customMetadata={"m": fits})
    with pytest.raises(JsException, match=re.escape("maximum allowed metadata size. (10012)")):
        await bucket.put("a", "x", customMetadata={"m": does_not})


async def test_digests_of_a_wrong_form_are_refused(bucket: R2Bucket) -> None:
    for digest, message in (
        ("zz" * 16, "Provided MD5 wasn't a valid hex string"),
        (b"0123456789", "MD5 is 16 bytes, not 10"),
        (5, "'md5' field on 'PutOptions': the provided value is not of type 'JsBufferSource or"),
    ):
        with pytest.raises(JsTypeError, match=message):
            await bucket.put("a", "x", md5=digest)
    await bucket.put("a", "hello", md5=HELLO_MD5.upper())
    await bucket.put("a", "hello", md5=bytes.fromhex(HELLO_MD5))


async def test_an_object_has_a_largest_size(
    bucket: R2Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(r2_store, "OBJECT_BYTES_MAX", 5)
    await bucket.put("a", "exact")
    with pytest.raises(
        JsException, match=re.escape("exceeds the maximum allowed object size. (10")
    ):
        await bucket.put("a", "longer")
    assert await (await bucket.get("a")).text() == "exact"


async def test_a_page_of_a_listing_with_metadata_has_at_most_100_objects(bucket: R2Bucket) -> None:
    for number in range(101):
        await bucket.put(f"n{number:03}", "")
    page = await bucket.list(include=["customMetadata"])
    assert (len(page.objects), page.truncated) == (100, True)
    assert len((await bucket.list()).objects) == 102
    with pytest.raises(JsRangeError, match="Unsupported include value nonsense"):
        await bucket.list(include=["nonsense"])
    with pytest.raises(JsTypeError, match=r"'include' field on 'ListOptions'.*'Array'"):
        await bucket.list(include="customMetadata")
