"""Conditions of R2's operations: given as an object or as HTTP header fields, decided without effects.

A condition of header fields looks at times in whole seconds, as HTTP's dates have them. What is no date
counts as the beginning of time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from workers.headers import Headers

from dohost.errors import JsException, JsTypeError
from dohost.simulators.text import wrong_field
from dohost.simulators.times import http_date_ms, milliseconds_of

_ETAG = r'(?:(?P<any>\*)|(?P<weak>W/)?"(?P<etag>[^"]*)")'
_FIRST_ETAG = re.compile(rf"[\s,]*{_ETAG}")
_NEXT_ETAG = re.compile(rf"\s*,[\s,]*{_ETAG}")
ANY = "*"


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """When an operation is done: None in a field says nothing. A `"*"` among etags means any object."""

    matches: tuple[str, ...] | None = None
    matches_not: tuple[str, ...] | None = None
    before_ms: int | None = None
    after_ms: int | None = None
    in_seconds: bool = False

    def holds(self, etag: str, uploaded_ms: int) -> bool:
        """Whether the condition holds for an object that is there."""
        before_ms = self.before_ms
        if self.in_seconds:
            uploaded_ms = uploaded_ms // 1000 * 1000
            before_ms = None if before_ms is None else before_ms // 1000 * 1000
        is_match = self.matches is None or etag in self.matches or ANY in self.matches
        is_other = self.matches_not is None or not (
            etag in self.matches_not or ANY in self.matches_not
        )
        is_after = (
            self.after_ms is None
            or self.after_ms < uploaded_ms
            or (self.matches_not is not None and is_other)
        )
        is_before = (
            before_ms is None or uploaded_ms < before_ms or (self.matches is not None and is_match)
        )
        return is_match and is_other and is_after and is_before

    @property
    def holds_for_none(self) -> bool:
        """Whether the condition holds where there is no object."""
        return self.matches is None and self.after_ms is None


def condition_of(given: object, holder: str) -> Condition | None:
    """Return the condition that `holder` (a type of options) has. Raises: JsTypeError, JsException."""
    if given is None:
        return None
    if isinstance(given, Headers):
        before, after = given.get("if-unmodified-since"), given.get("if-modified-since")
        return Condition(
            # A weak etag never matches where bytes must be the same (RFC 9110, section 13.1.1).
            matches=_etags(given, "if-match", takes_weak=False),
            matches_not=_etags(given, "if-none-match", takes_weak=True),
            before_ms=None if before is None else http_date_ms(before),
            after_ms=None if after is None else http_date_ms(after),
            in_seconds=True,
        )
    if not isinstance(given, Mapping):
        raise wrong_field("onlyIf", holder, "Conditional or Headers")
    before, after = given.get("uploadedBefore"), given.get("uploadedAfter")
    return Condition(
        matches=_bare_etag(given, "etagMatches"),
        matches_not=_bare_etag(given, "etagDoesNotMatch"),
        before_ms=None if before is None else milliseconds_of(before),
        after_ms=None if after is None else milliseconds_of(after),
        in_seconds=bool(given.get("secondsGranularity")),
    )


def _bare_etag(given: Mapping[object, object], field: str) -> tuple[str, ...] | None:
    etag = given.get(field)
    if etag is None:
        return None
    if not isinstance(etag, str):
        raise wrong_field(field, "Conditional", "string")
    if etag[:1] == etag[-1:] == '"':
        raise JsTypeError(f"Conditional ETag should not be wrapped in quotes ({etag}).")
    return (etag,)


def _etags(headers: Headers, name: str, *, takes_weak: bool) -> tuple[str, ...] | None:
    rest = headers.get(name)
    if rest is None:
        return None
    etags: list[str] = []
    pattern = _FIRST_ETAG
    # What follows the last etag is passed over, as Cloudflare does.
    while '"' in rest or ANY in rest or pattern is _FIRST_ETAG:
        found = pattern.match(rest)
        if found is None:
            raise JsException(f"Invalid ETag in {name} header")
        if found["any"]:
            return (ANY,)
        if takes_weak or not found["weak"]:
            etags.append(found["etag"])
        rest, pattern = rest[found.end() :], _NEXT_ETAG
    return tuple(etags)
