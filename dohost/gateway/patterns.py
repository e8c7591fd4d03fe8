"""Route patterns: `[METHOD[,METHOD] ]/literal/{name}/{name:int}/{name:/regex/}/*`.

A parameter takes a whole segment and never an empty one; `:name` is another way to write `{name}`; a
wildcard stands last. The rank of a segment's kind is the order in which the route table tries it.
"""

from __future__ import annotations

import re

from msgspec import Struct

from dohost.gateway.paths import BadPath, canonical_path

LITERAL, TYPED, PARAMETER, WILDCARD = range(4)
TYPES = {
    "int": re.compile(r"-?[0-9]{1,19}"),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
}
WHOLE = re.compile(r"(?:([A-Z][A-Z-]*(?:,[A-Z][A-Z-]*)*) )?(/.*)", re.DOTALL)
PARAMETER_FORM = re.compile(r"\{([A-Za-z_]\w*)(?::(.+))?\}|:([A-Za-z_]\w*)", re.DOTALL | re.ASCII)


class Segment(Struct, frozen=True):
    """One step of a pattern: its kind, its text (literal or type) and what a typed one matches."""

    kind: int
    text: str = ""
    name: str = ""
    test: re.Pattern[str] | None = None


class Pattern(Struct, frozen=True, kw_only=True):
    """A parsed pattern. No methods: all of them. `names` are its parameters', in order."""

    methods: frozenset[str]
    segments: tuple[Segment, ...]
    names: tuple[str, ...]


class PatternFault(Struct, frozen=True):
    """Why a pattern is refused."""

    reason: str


def parse_pattern(text: str) -> Pattern | PatternFault:
    """Return the parsed pattern, or why it is refused."""
    whole = WHOLE.fullmatch(text)
    if whole is None:
        return PatternFault('must look like "/path/*" or "GET /path/{id}".')
    methods, path = whole.groups()
    segments: list[Segment] = []
    parts = split_segments(path[1:])
    for index, part in enumerate(parts):
        segment = parse_segment(part)
        if isinstance(segment, PatternFault):
            return segment
        if segment.kind == WILDCARD and index != len(parts) - 1:
            return PatternFault("a wildcard must be the last segment.")
        segments.append(segment)
    names = tuple(segment.name for segment in segments if segment.name)
    if len(set(names)) != len(names):
        return PatternFault("two parameters have one name.")
    allowed = frozenset(methods.split(",")) if methods else frozenset()
    return Pattern(methods=allowed, segments=tuple(segments), names=names)


def split_segments(path: str) -> list[str]:
    """Split at slashes that are not inside braces."""
    parts, depth = [""], 0
    for character in path:
        depth += (character == "{") - (character == "}")
        if character == "/" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def parse_segment(part: str) -> Segment | PatternFault:
    """Return one step of a pattern."""
    if part in ("*", "**"):
        return Segment(WILDCARD)
    form = PARAMETER_FORM.fullmatch(part)
    if form is not None:
        name, kind, colon_name = form.groups()
        return parse_parameter(name or colon_name, kind)
    if re.search(r"[{}*]", part) or part.startswith(":"):
        return PatternFault(f"{part!r}: a parameter or wildcard takes a whole segment.")
    literal = canonical_path(f"/{part}")
    if isinstance(literal, BadPath):
        return PatternFault(f"{part!r} can't occur in a path: it {literal.reason}.")
    return Segment(LITERAL, literal.segments[0])


def parse_parameter(name: str, kind: str | None) -> Segment | PatternFault:
    """Return a parameter: plain, of a known type, or of a regular expression (slashes optional)."""
    if kind is None:
        return Segment(PARAMETER, "", name)
    if kind in TYPES:
        return Segment(TYPED, kind, name, TYPES[kind])
    source = kind[1:-1] if len(kind) > 2 and kind[0] == kind[-1] == "/" else kind
    if source == kind and source.isalpha():
        return PatternFault(f"no parameter type {kind!r}; known are int, uuid and /regex/.")
    try:
        return Segment(TYPED, f"/{source}/", name, re.compile(source))
    except re.error as error:
        return PatternFault(f"the expression of {name!r} is wrong: {error}.")
