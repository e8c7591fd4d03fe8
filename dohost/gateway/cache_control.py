"""Cache-Control as data (RFC 9111 §5.2, RFC 9213).

Where a directive is repeated the most restrictive value holds; a number that can't be read makes the
answer stale; one that overflows is 2^31. A directive with field names (`no-cache="set-cookie"`) is
about these fields only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from dohost.gateway.structured_fields import Value, parse_dictionary
from dohost.memo import Memo

DELTA_MAX = 2**31
# No part gives back what it took ("*+"): clients write this field, and neighbours that both take blanks
# would try each way to share them.
DIRECTIVE = re.compile(
    r"\s*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)\s*+"
    r"(?:=\s*+(\"(?:[^\"\\]|\\.)*+\"|[^,\"]*+))?\s*+(?:,|$)"
)
# Unclosed quotes are looked for from each comma on; what is longer than this says nothing sensible.
TEXT_MAX = 2_048


class CacheControl(Struct, frozen=True, kw_only=True):
    """The directives we act on; seconds, or `None` where a directive is absent."""

    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    s_maxage: int | None = None
    min_fresh: int | None = None
    max_stale: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    fields: frozenset[str] = frozenset()


NO_DIRECTIVES = CacheControl()
TEXT_MEMOISED_MAX = 256
_PARSED: Memo[CacheControl] = Memo(entries_max=1_024)
FLAGS = frozenset(
    {
        "no-store",
        "public",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "only-if-cached",
    }
)
SECONDS = frozenset(
    {"max-age", "s-maxage", "min-fresh", "stale-while-revalidate", "stale-if-error"}
)


def parse_cache_control(values: Iterable[str]) -> CacheControl:
    """Return the directives of one or more Cache-Control fields; too long ones forbid to store."""
    text = ", ".join(values)
    if not text:
        return NO_DIRECTIVES
    if len(text) > TEXT_MAX:
        return CacheControl(no_store=True)
    if len(text) > TEXT_MEMOISED_MAX:
        return _parse(text)
    return _PARSED.get_or_make(text, lambda: _parse(text))


def _parse(text: str) -> CacheControl:
    # A name alone is what a Dictionary calls true.
    return _control((name, True if value is None else value) for name, value in directives(text))


def _control(members: Iterable[tuple[str, Value]]) -> CacheControl:
    found: dict[str, object] = {}
    fields: set[str] = set()
    for name, value in members:
        key = name.replace("-", "_")
        if value is False:
            continue
        if name in FLAGS:
            found[key] = True
        elif name in ("no-cache", "private"):
            listed = value.split(",") if isinstance(value, str) else ()
            named = {field.strip().lower() for field in listed if field.strip()}
            fields |= named
            found[key] = bool(found.get(key)) or not named
        elif name in SECONDS:
            held = found.get(key)
            seconds = delta_seconds(value)
            found[key] = min(seconds, held) if isinstance(held, int) else seconds
        elif name == "max-stale":
            found[key] = DELTA_MAX if value is True else delta_seconds(value)
    return CacheControl(**found, fields=frozenset(fields))  # type: ignore[arg-type]  # built by name above


def directives(text: str) -> Iterable[tuple[str, str | None]]:
    """Yield each directive's lower-case name and unquoted value; skip what isn't one."""
    position = 0
    while position < len(text):
        found = DIRECTIVE.match(text, position)
        if found is None:
            comma = text.find(",", position)
            position = len(text) if comma < 0 else comma + 1
            continue
        position = found.end()
        name, value = found.groups()
        if value is not None and value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        yield name.lower(), value


def delta_seconds(value: Value) -> int:
    """Return a number of seconds; what isn't one counts as 0, that is as stale."""
    text = "" if value is True else str(value).strip()
    if not (text.isascii() and text.isdigit()):
        return 0
    # Long digit strings are not converted: 20 digits are already an overflow.
    return DELTA_MAX if len(text) > 10 else min(int(text), DELTA_MAX)


def parse_targeted(values: Iterable[str]) -> CacheControl | None:
    """Return the directives of a targeted field (RFC 9213), `None` for one that does not count.

    That is one that is empty or no Dictionary of structured fields. Parameters mean nothing there.
    """
    members = parse_dictionary(", ".join(values))
    return _control(members.items()) if members else None
