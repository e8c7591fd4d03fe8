"""The one canonical form of a request path, before matching, caching, logging and forwarding.

Segments are split first and decoded each by itself, so an encoded slash can never become a boundary.
What two parsers could read differently is refused, not repaired: encoded slashes, backslashes and
NULs, dot segments raw or encoded, control characters, bad escapes, bytes that aren't UTF-8, and a
leading "//", which some clients read as an authority. Empty segments further on are kept as they are.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes, urlsplit

from msgspec import Struct

from dohost.memo import Memo

# Most paths: nothing escaped, and no segment that begins with a dot.
PLAIN = re.compile(r"(?:/(?!\.)[A-Za-z0-9_.~!$&'()*+,;=:@-]*)+")
ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# C0, DEL and C1 controls.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# What may stand in a path unescaped; "%" because escapes are kept.
SAFE = "/%!$&'()*+,;=:@-._~"


class CanonicalPath(Struct, frozen=True):
    """`raw` starts with "/" and has upper-case escapes; `segments` are its decoded parts."""

    raw: str
    segments: tuple[str, ...]

    @property
    def text(self) -> str:
        """The path without escapes: what is compared with paths of our own."""
        return "/" + "/".join(self.segments) if "%" in self.raw else self.raw


class BadPath(Struct, frozen=True):
    """Why a path is refused (400)."""

    reason: str


class RequestTarget(Struct, frozen=True):
    """A request's URL behind its authority: what is asked for."""

    path: CanonicalPath | BadPath
    query_text: str


URL_CHARS_MEMOISED_MAX = 1_024
_targets: Memo[RequestTarget] = Memo(entries_max=4_096)


def request_target(url: str) -> RequestTarget:
    """Return the path in its canonical form, and the query, of an absolute URL."""
    if len(url) > URL_CHARS_MEMOISED_MAX:
        return _target_of(url)
    return _targets.get_or_make(url, lambda: _target_of(url))


def _target_of(url: str) -> RequestTarget:
    parts = urlsplit(url)
    return RequestTarget(canonical_path(parts.path), parts.query)


def canonical_path(raw_path: str) -> CanonicalPath | BadPath:
    """Return the canonical form of the path of a request target, without its query."""
    if raw_path.startswith("//"):
        return BadPath("begins with an empty segment")
    if PLAIN.fullmatch(raw_path):
        return CanonicalPath(raw_path, tuple(raw_path[1:].split("/")))
    if not raw_path.startswith("/"):
        return BadPath("doesn't begin with a slash")
    if re.search(r"[?#]", raw_path):
        return BadPath("has a query or a fragment")
    if "\\" in raw_path:
        return BadPath("has a backslash")
    if CONTROL.search(raw_path):
        return BadPath("has a control character")
    if BAD_ESCAPE.search(raw_path):
        return BadPath("has a malformed escape")
    segments: list[str] = []
    for part in raw_path[1:].split("/"):
        segment = decode_segment(part)
        if isinstance(segment, BadPath):
            return segment
        segments.append(segment)
    raw = ESCAPE.sub(lambda found: found.group().upper(), quote(raw_path, safe=SAFE))
    return CanonicalPath(raw, tuple(segments))


def decode_segment(part: str) -> str | BadPath:
    """Return a decoded segment, or why it is refused."""
    try:
        segment = unquote_to_bytes(part).decode()
    except UnicodeError:
        return BadPath("is not UTF-8")
    if "/" in segment:
        return BadPath("has an encoded slash")
    if "\\" in segment:
        return BadPath("has an encoded backslash")
    if CONTROL.search(segment):
        return BadPath("has an encoded control character")
    # Some servers drop what follows ";" before they resolve dots.
    if segment.partition(";")[0] in (".", ".."):
        return BadPath("has a dot segment")
    return segment
