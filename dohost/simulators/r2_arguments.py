"""What user code may ask of an R2 bucket: checks and decisions without effects, in Cloudflare's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec
from workers.headers import Headers

from dohost.errors import JsException, JsRangeError, JsTypeError
from dohost.simulators.text import Options, scalar_text, well_formed, whole_number

KEY_BYTES_MAX = 1024
METADATA_BYTES_MAX = 2048
LIST_KEYS_MAX = 1000
PART_BYTES_MIN = 5 * 1024 * 1024
PARTS_MAX = 10_000
# Digits in hexadecimal, by option; the first is also every object's etag.
HASHES = {"md5": 32, "sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}
HASH_NAMES = {
    "md5": "MD5",
    "sha1": "SHA-1",
    "sha256": "SHA-256",
    "sha384": "SHA-384",
    "sha512": "SHA-512",
}
_HTTP_FIELDS = {
    "contentType": "content-type",
    "contentLanguage": "content-language",
    "contentDisposition": "content-disposition",
    "contentEncoding": "content-encoding",
    "cacheControl": "cache-control",
}
_REASONS = {
    10001: "We encountered an internal error. Please try again.",
    10011: "Your proposed upload is smaller than the minimum allowed object size.",
    10012: "Your metadata headers exceed the maximum allowed metadata size.",
    10020: "The specified object name is not valid.",
    10022: f"MaxKeys params must be positive integer <= {LIST_KEYS_MAX}.",
    10024: "The specified multipart upload does not exist.",
    10025: "One or more of the specified parts could not be found.",
    10039: "The requested range is not satisfiable",
    10048: "There was a problem with the multipart upload.",
}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_ETAG = re.compile(r'\s*(\*|(?:W/)?"([^"]*)")\s*(?:,|$)')


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """When an operation is done: None in a field says nothing. A `"*"` among etags means any object."""

    matches: tuple[str, ...] | None = None
    matches_not: tuple[str, ...] | None = None
    before_ms: int | None = None
    after_ms: int | None = None
    in_seconds: bool = False

    def holds(self, etag: str, uploaded_ms: int) -> bool:
        """Whether the condition holds for an object that is there."""
        if self.in_seconds:
            uploaded_ms = uploaded_ms // 1000 * 1000
        is_match = self.matches is None or etag in self.matches or "*" in self.matches
        is_other = self.matches_not is None or not (
            etag in self.matches_not or "*" in self.matches_not
        )
        is_after = (
            self.after_ms is None
            or self.after_ms < uploaded_ms
            or (self.matches_not is not None and is_other)
        )
        is_before = (
            self.before_ms is None
            or uploaded_ms < self.before_ms
            or (self.matches is not None and is_match)
        )
        return is_match and is_other and is_after and is_before

    @property
    def holds_for_none(self) -> bool:
        """Whether the condition holds where there is no object."""
        return self.matches is None and self.after_ms is None


class Slice(msgspec.Struct, frozen=True):
    """A part of an object's bytes."""

    offset: int
    length: int


def failed(operation: str, code: int, reason: str | None = None) -> JsException:
    """Return the error of a refused operation."""
    return JsException(f"{operation}: {reason or _REASONS[code]} ({code})")


def key_of(key: object, operation: str) -> str:
    """Return a key as it is stored. Raises: JsTypeError, JsException."""
    text = scalar_text(key)
    if text is None:
        raise JsTypeError(f"An R2 key must be a string, not {type(key).__name__}.")
    if len(text.encode()) > KEY_BYTES_MAX:
        raise failed(operation, 10020)
    return text


def http_metadata_of(given: object) -> dict[str, str | int]:
    """Return HTTP metadata, given as an object or as headers, with times in ms."""
    found: dict[str, str | int] = {}
    if isinstance(given, Headers):
        for field, header in _HTTP_FIELDS.items():
            value = given.get(header)
            if value is not None:
                found[field] = value
        expires = given.get("expires")
        if expires is not None:
            found["cacheExpiry"] = _date_ms(expires)
    elif isinstance(given, Mapping):
        found = {field: str(given[field]) for field in _HTTP_FIELDS if given.get(field) is not None}
        if given.get("cacheExpiry") is not None:
            found["cacheExpiry"] = milliseconds_of(given["cacheExpiry"])
    return found


def write_http_metadata(metadata: Mapping[str, str | int], headers: Headers) -> None:
    """Set the fields of `headers` that HTTP metadata stands for."""
    for field, header in _HTTP_FIELDS.items():
        if field in metadata:
            headers.set(header, str(metadata[field]))
    if "cacheExpiry" in metadata:
        moment = datetime.fromtimestamp(int(metadata["cacheExpiry"]) / 1000, UTC)
        headers.set("expires", f"{moment:%a, %d %b %Y %H:%M:%S} GMT")


def custom_metadata_of(given: object, operation: str) -> dict[str, str]:
    """Return custom metadata as texts. Raises: JsException if it is too long."""
    if not isinstance(given, Mapping):
        return {}
    found = {well_formed(str(name)): scalar_text(value) or "" for name, value in given.items()}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in found.items())
    if size > METADATA_BYTES_MAX:
        raise failed(operation, 10012)
    return found


def condition_of(given: object) -> Condition | None:
    """Return a condition, given as an object or as headers. Raises: JsTypeError."""
    if isinstance(given, Headers):
        before, after = given.get("if-unmodified-since"), given.get("if-modified-since")
        return Condition(
            matches=_etags(given.get("if-match")),
            matches_not=_etags(given.get("if-none-match")),
            before_ms=None if before is None else _date_ms(before),
            after_ms=None if after is None else _date_ms(after),
            in_seconds=True,
        )
    if not isinstance(given, Mapping):
        return None
    before, after = given.get("uploadedBefore"), given.get("uploadedAfter")
    return Condition(
        matches=_bare_etag(given.get("etagMatches")),
        matches_not=_bare_etag(given.get("etagDoesNotMatch")),
        before_ms=None if before is None else milliseconds_of(before),
        after_ms=None if after is None else milliseconds_of(after),
        in_seconds=bool(given.get("secondsGranularity")),
    )


def slice_of(given: object, size: int) -> Slice:
    """Return which bytes to read. Raises: JsException, JsRangeError, JsTypeError."""
    if isinstance(given, Headers):
        return _slice_of_header(given.get("range"), size)
    if not isinstance(given, Mapping):
        return Slice(0, size)
    suffix, offset, length = given.get("suffix"), given.get("offset"), given.get("length")
    if suffix is not None:
        if offset is not None or length is not None:
            other = "offset" if offset is not None else "length"
            raise JsTypeError(f"Suffix is incompatible with {other}.")
        wanted = min(whole_number(suffix), size)
        start, count = size - wanted, wanted
    else:
        start = 0 if offset is None else whole_number(offset)
        if start < 0:
            raise JsRangeError(
                f"Invalid range. Starting offset ({start}) must be greater than or equal to 0."
            )
        count = size - start if length is None else min(whole_number(length), size - start)
    if count <= 0:
        raise failed("get", 10039)
    return Slice(start, count)


def check_of(options: Options) -> tuple[str, str] | None:
    """Return the hash that a put must have: its option and its hex digits. Raises: JsTypeError."""
    given = [name for name in HASHES if options.get(name) is not None]
    if not given:
        return None
    if len(given) > 1:
        raise JsTypeError("You cannot specify multiple hashing algorithms.")
    name, value = given[0], options[given[0]]
    text = bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value).lower()
    if len(text) != HASHES[name] or not all(each in "0123456789abcdef" for each in text):
        raise JsTypeError(f"{HASH_NAMES[name]} is {HASHES[name]} hex characters, not {len(text)}")
    return name, text


def part_number_of(number: object) -> int:
    """Return a part's number. Raises: JsTypeError."""
    value = whole_number(number)
    if not 1 <= value <= PARTS_MAX:
        raise JsTypeError(
            f"Part number must be between 1 and {PARTS_MAX} (inclusive). Actual value was: {value}"
        )
    return value


def milliseconds_of(value: object) -> int:
    """Return a time in ms since the epoch; a naive datetime is UTC."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return int(aware.timestamp() * 1000)
    return whole_number(value)


def _slice_of_header(text: str | None, size: int) -> Slice:
    found = None if text is None else _RANGE.fullmatch(text.strip())
    # Malformed and several ranges are ignored, as HTTP lets a server do.
    if found is None or not (found[1] or found[2]):
        return Slice(0, size)
    if not found[1]:
        return slice_of({"suffix": int(found[2])}, size)
    start = int(found[1])
    end = min(int(found[2]), size - 1) if found[2] else size - 1
    return slice_of({"offset": start, "length": end - start + 1}, size)


def _bare_etag(given: object) -> tuple[str, ...] | None:
    if given is None:
        return None
    text = str(given)
    if len(text) > 1 and text[0] == text[-1] == '"':
        raise JsTypeError(f"Conditional ETag should not be wrapped in quotes ({text}).")
    return (text,)


def _etags(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple("*" if whole == "*" else bare for whole, bare in _ETAG.findall(text))


def _date_ms(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp() * 1000)
    except ValueError as error:
        raise JsTypeError(f"{text!r} is not an HTTP date.") from error
