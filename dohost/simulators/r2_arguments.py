"""What user code may ask of an R2 bucket: checks and decisions without effects, in Cloudflare's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from workers.headers import Headers

from dohost.errors import JsException, JsRangeError, JsTypeError
from dohost.simulators.text import (
    Options,
    int32_of,
    scalar_text,
    text_of,
    well_formed,
    whole_number,
    wrong_field,
)
from dohost.simulators.times import date_of, http_date_ms, milliseconds_of

KEY_BYTES_MAX = 1024
# 5 GiB less the smallest part of an upload.
OBJECT_BYTES_MAX = 5 * 1024**3 - 5 * 1024**2
METADATA_CHARACTERS_MAX = 2048
LIST_KEYS_MAX = 1000
# With metadata in it, a page of a listing is shorter.
LIST_KEYS_WITH_METADATA_MAX = 100
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
    100100: "Your proposed upload exceeds the maximum allowed object size.",
}

Holder = Literal["PutOptions", "MultipartOptions"]


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


def http_metadata_of(given: object, holder: Holder) -> dict[str, str | int]:
    """Return HTTP metadata, given as an object or as headers, with times in ms. Raises: JsTypeError."""
    found: dict[str, str | int] = {}
    if isinstance(given, Headers):
        for field, header in _HTTP_FIELDS.items():
            value = given.get(header)
            if value is not None:
                found[field] = value
        expires = given.get("expires")
        if expires is not None:
            found["cacheExpiry"] = http_date_ms(expires)
    elif isinstance(given, Mapping):
        found = {
            field: text_of(given[field]) for field in _HTTP_FIELDS if given.get(field) is not None
        }
        if given.get("cacheExpiry") is not None:
            found["cacheExpiry"] = milliseconds_of(given["cacheExpiry"])
    elif given is not None:
        raise wrong_field("httpMetadata", holder, "HttpMetadata or Headers")
    return found


def write_http_metadata(metadata: Mapping[str, str | int], headers: Headers) -> None:
    """Set the fields of `headers` that HTTP metadata stands for."""
    for field, header in _HTTP_FIELDS.items():
        if field in metadata:
            headers.set(header, str(metadata[field]))
    if "cacheExpiry" in metadata:
        moment = date_of(int(metadata["cacheExpiry"]))
        headers.set("expires", f"{moment:%a, %d %b %Y %H:%M:%S} GMT")


def custom_metadata_of(given: object, holder: Holder, operation: str) -> dict[str, str]:
    """Return custom metadata as texts. Raises: JsTypeError; JsException if it is too long."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise wrong_field("customMetadata", holder, "object")
    found = {well_formed(str(name)): text_of(value) for name, value in given.items()}
    if (
        sum(_length(name) + _length(value) for name, value in found.items())
        > METADATA_CHARACTERS_MAX
    ):
        raise failed(operation, 10012)
    return found


def check_of(options: Options) -> tuple[str, str] | None:
    """Return the hash that a put must have: its option and its hex digits. Raises: JsTypeError."""
    given = [name for name in HASHES if options.get(name) is not None]
    if not given:
        return None
    if len(given) > 1:
        raise JsTypeError("You cannot specify multiple hashing algorithms.")
    name, value = given[0], options[given[0]]
    if isinstance(value, bytes | memoryview):
        if len(bytes(value)) != HASHES[name] // 2:
            raise JsTypeError(
                f"{HASH_NAMES[name]} is {HASHES[name] // 2} bytes, not {len(bytes(value))}"
            )
        return name, bytes(value).hex()
    if not isinstance(value, str):
        raise wrong_field(name, "PutOptions", "JsBufferSource or string")
    if len(value) != HASHES[name]:
        raise JsTypeError(f"{HASH_NAMES[name]} is {HASHES[name]} hex characters, not {len(value)}")
    if not all(each in "0123456789abcdef" for each in value.lower()):
        raise JsTypeError(f"Provided {HASH_NAMES[name]} wasn't a valid hex string")
    return name, value.lower()


def included_of(given: object) -> frozenset[str]:
    """Return which metadata a listing shows. Raises: JsTypeError, JsRangeError."""
    if given is None:
        return frozenset()
    if not isinstance(given, list):
        raise wrong_field("include", "ListOptions", "Array")
    for each in given:
        if each not in ("httpMetadata", "customMetadata"):
            raise JsRangeError(f"Unsupported include value {text_of(each)}")
    return frozenset(given)


def limit_of(given: object, included: frozenset[str]) -> int:
    """Return how many keys a page of a listing has at most. Raises: JsException, JsTypeError."""
    limit = LIST_KEYS_MAX if given is None else int32_of(given)
    if not 1 <= limit <= LIST_KEYS_MAX:
        raise failed("list", 10022)
    return min(limit, LIST_KEYS_WITH_METADATA_MAX) if included else limit


def part_number_of(number: object) -> int:
    """Return a part's number. Raises: JsTypeError."""
    value = whole_number(number)
    if not 1 <= value <= PARTS_MAX:
        raise JsTypeError(
            f"Part number must be between 1 and {PARTS_MAX} (inclusive). Actual value was: {value}"
        )
    return value


def _length(text: str) -> int:
    """Return how long a text of metadata counts: its characters, or two bytes for each of UTF-16."""
    if all(each < "\u0100" for each in text):
        return len(text)
    return len(text.encode("utf-16-le"))
