"""Routing: which configured route serves a method and a path.

Patterns are compiled once into a trie by segment; at each level a literal beats a typed or regex
parameter, which beats a plain parameter, which beats a wildcard, left to right. Routes on one leaf
differ by host, headers, query and method, more matchers first, then by `priority`; a true tie is a
problem at load. The first route in that order whose matchers all hold serves the request, so a more
general route still serves the methods that a special one leaves out. HEAD is served by GET. `/foo/*`
also matches `/foo` unless `strict_wildcard`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from msgspec import Struct

from dohost.gateway.config_tables import ConfigProblem, RouteConfig
from dohost.gateway.paths import CanonicalPath
from dohost.gateway.patterns import (
    LITERAL,
    TYPED,
    WILDCARD,
    Pattern,
    PatternFault,
    Segment,
    parse_pattern,
)

# An IPv6 address has colons of its own, in brackets.
PORT = re.compile(r":[0-9]*\Z")
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class Match(Struct, frozen=True):
    """The route chosen. `prefix` + `rest` is the raw path: `rest` is what the wildcard took, and
    without a wildcard all of it."""

    route: RouteConfig
    params: Mapping[str, str]
    rest: str
    prefix: str


class NotFound(Struct, frozen=True):
    """No route has this path."""


class MethodNotAllowed(Struct, frozen=True):
    """Routes have this path, for other methods; `allow` goes into the Allow field."""

    allow: tuple[str, ...]


class RouteVerdict(Struct, frozen=True, kw_only=True):
    """Why a route did or did not serve a request, for explain."""

    pattern: str
    service: str
    chosen: bool
    reason: str


class RequestFacts(Struct, frozen=True, kw_only=True):
    """What matchers besides the path look at; header names in lower case."""

    host: str = ""
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}


NO_FACTS = RequestFacts()


class Leaf(Struct, frozen=True, kw_only=True):
    """A compiled route."""

    route: RouteConfig
    pattern: Pattern
    order: int

    @property
    def rank(self) -> tuple[int, ...]:
        """Sorts more matchers first: host, headers, query, method, then `priority`."""
        route = self.route
        counts = (
            bool(route.hosts),
            len(route.headers),
            len(route.query),
            bool(self.pattern.methods),
        )
        return (*(-int(count) for count in counts), -route.priority)

    @property
    def needs_facts(self) -> bool:
        """Whether more than method and path decides."""
        return bool(self.route.hosts or self.route.headers or self.route.query)

    def objection(self, method: str, facts: RequestFacts) -> str | None:
        """Return why the route doesn't serve a request whose path it has; method last."""
        route, methods = self.route, self.pattern.methods
        if route.hosts and PORT.sub("", facts.host).lower() not in route.hosts:
            return f"host {facts.host!r} is not one of {', '.join(route.hosts)}"
        for name, value in route.headers.items():
            if facts.headers.get(name.lower()) != value:
                return f"header {name} is not {value!r}"
        for name, value in route.query.items():
            if facts.query.get(name) != value:
                return f"query parameter {name} is not {value!r}"
        if not methods or method in methods or (method == "HEAD" and "GET" in methods):
            return None
        return METHOD_OBJECTION


METHOD_OBJECTION = "serves other methods"


class Node:
    """One place in the trie."""

    __slots__ = ("leaves", "literals", "parameter", "typed", "wild")

    def __init__(self) -> None:
        self.literals: dict[str, Node] = {}
        self.typed: list[tuple[Segment, Node]] = []
        self.parameter: Node | None = None
        self.leaves: list[Leaf] = []
        self.wild: list[Leaf] = []

    def child(self, segment: Segment) -> Node:
        """Return the node behind a segment of a pattern, making it if needed."""
        if segment.kind == LITERAL:
            return self.literals.setdefault(segment.text, Node())
        if segment.kind == TYPED:
            for known, node in self.typed:
                if known.text == segment.text:
                    return node
            self.typed.append((segment, Node()))
            # Built-in types are narrower than expressions; among expressions the first one wins.
            self.typed.sort(key=lambda pair: ("/", "u", "i").index(pair[0].text[0]), reverse=True)
            return next(node for known, node in self.typed if known is segment)
        if self.parameter is None:
            self.parameter = Node()
        return self.parameter


class RouteTable:
    """Compiled routes."""

    def __init__(self, leaves: Sequence[Leaf], *, strict_wildcard: bool) -> None:
        self._leaves = tuple(leaves)
        self._strict = strict_wildcard
        self._root = Node()
        self.needs_facts = any(leaf.needs_facts for leaf in leaves)
        for leaf in leaves:
            node = self._root
            for segment in leaf.pattern.segments:
                if segment.kind == WILDCARD:
                    insert(node.wild, leaf)
                    break
                node = node.child(segment)
            else:
                insert(node.leaves, leaf)

    @classmethod
    def compile(
        cls, routes: Sequence[RouteConfig], *, strict_wildcard: bool = False
    ) -> RouteTable | tuple[ConfigProblem, ...]:
        """Return the table, or every bad pattern and every tie."""
        problems: list[ConfigProblem] = []
        leaves: list[Leaf] = []
        for order, route in enumerate(routes):
            pattern = parse_pattern(route.pattern)
            fault = pattern if isinstance(pattern, PatternFault) else rewrite_fault(route, pattern)
            if fault is not None:
                path = f'GATEWAY.routes."{route.pattern}"'
                problems.append(ConfigProblem(path=path, message=fault.reason))
            elif isinstance(pattern, Pattern):
                leaves.append(Leaf(route=route, pattern=pattern, order=order))
        problems += ties(leaves)
        return tuple(problems) if problems else cls(leaves, strict_wildcard=strict_wildcard)

    def match(
        self, method: str, path: CanonicalPath, *, facts: RequestFacts = NO_FACTS
    ) -> Match | NotFound | MethodNotAllowed:
        """Return the route for a request."""
        allow: set[str] = set()
        for leaf, values, taken in self._candidates(self._root, path.segments, index=0, values=()):
            objection = leaf.objection(method, facts)
            if objection is None:
                return found(leaf, path, values=values, taken=taken)
            if objection is METHOD_OBJECTION:
                allow |= leaf.pattern.methods
        if not allow:
            return NotFound()
        if "GET" in allow:
            allow.add("HEAD")
        return MethodNotAllowed(tuple(sorted(allow | {"OPTIONS"})))

    def explain(
        self, method: str, path: CanonicalPath, *, facts: RequestFacts = NO_FACTS
    ) -> tuple[RouteVerdict, ...]:
        """Return every route's verdict, the chosen one first, then those that have the path."""
        verdicts: list[RouteVerdict] = []
        winner: Leaf | None = None
        seen: set[int] = set()
        for leaf, _, _ in self._candidates(self._root, path.segments, index=0, values=()):
            seen.add(leaf.order)
            reason = leaf.objection(method, facts)
            chosen = reason is None and winner is None
            if chosen:
                winner = leaf
                verdicts.insert(0, verdict(leaf, "matches and is the most specific", chosen=True))
            elif reason is None and winner is not None:
                text = f"matches, but {winner.route.pattern!r} is more specific"
                verdicts.append(verdict(leaf, text))
            else:
                verdicts.append(verdict(leaf, reason or ""))
        others = (leaf for leaf in self._leaves if leaf.order not in seen)
        return (*verdicts, *(verdict(leaf, "has another path") for leaf in others))

    def _candidates(
        self, node: Node, segments: tuple[str, ...], *, index: int, values: tuple[str, ...]
    ) -> Iterator[tuple[Leaf, tuple[str, ...], int]]:
        """Yield the routes that have the path, most specific first, with their parameters' values
        and the number of segments before the wildcard (-1: no wildcard)."""
        if index == len(segments):
            for leaf in node.leaves:
                yield leaf, values, -1
            if not self._strict:
                for leaf in node.wild:
                    yield leaf, values, index
            return
        segment = segments[index]
        literal = node.literals.get(segment)
        if literal is not None:
            yield from self._candidates(literal, segments, index=index + 1, values=values)
        if segment:
            for known, child in node.typed:
                if known.test is not None and known.test.fullmatch(segment):
                    yield from self._candidates(
                        child, segments, index=index + 1, values=(*values, segment)
                    )
            if node.parameter is not None:
                taken = (*values, segment)
                yield from self._candidates(node.parameter, segments, index=index + 1, values=taken)
        for leaf in node.wild:
            yield leaf, values, index


def found(leaf: Leaf, path: CanonicalPath, *, values: tuple[str, ...], taken: int) -> Match:
    """Return the match: raw text is cut at segment boundaries, parameters are decoded."""
    params = dict(zip(leaf.pattern.names, values, strict=True)) if values else {}
    if taken < 0:
        return Match(leaf.route, params, path.raw, "")
    if taken == 0:
        return Match(leaf.route, params, path.raw, "")
    cut = nth_slash(path.raw, taken)
    return Match(leaf.route, params, path.raw[cut:], path.raw[:cut])


def nth_slash(raw: str, count: int) -> int:
    """Return where the slash before segment `count` is, or the end."""
    position = 0
    for _ in range(count):
        position = raw.find("/", position + 1)
        if position < 0:
            return len(raw)
    return position


def insert(leaves: list[Leaf], leaf: Leaf) -> None:
    """Add a route to a leaf in the order in which they are tried."""
    leaves.append(leaf)
    leaves.sort(key=lambda item: item.rank)


def verdict(leaf: Leaf, reason: str, *, chosen: bool = False) -> RouteVerdict:
    """Say what became of a route."""
    if reason is METHOD_OBJECTION:
        reason = f"serves {', '.join(sorted(leaf.pattern.methods))} only"
    route = leaf.route
    return RouteVerdict(pattern=route.pattern, service=route.service, chosen=chosen, reason=reason)


def ties(leaves: Sequence[Leaf]) -> list[ConfigProblem]:
    """Return a problem for each two routes that could serve one request with the same right."""
    problems: list[ConfigProblem] = []
    by_shape: dict[tuple[tuple[int, str], ...], list[Leaf]] = {}
    for leaf in leaves:
        shape = tuple((segment.kind, segment.text) for segment in leaf.pattern.segments)
        for other in by_shape.setdefault(shape, []):
            if leaf.rank == other.rank and overlap(leaf, other):
                text = f"is as specific as {other.route.pattern!r}; give one of them a priority."
                path = f'GATEWAY.routes."{leaf.route.pattern}"'
                problems.append(ConfigProblem(path=path, message=text))
        by_shape[shape].append(leaf)
    return problems


def overlap(one: Leaf, other: Leaf) -> bool:
    """True if some request satisfies the matchers of both routes."""
    a, b = one.route, other.route
    methods = one.pattern.methods & other.pattern.methods
    if one.pattern.methods and other.pattern.methods and not methods:
        return False
    if a.hosts and b.hosts and not set(a.hosts) & set(b.hosts):
        return False
    pairs = ((a.headers, b.headers), (a.query, b.query))
    return all(x[key] == y[key] for x, y in pairs for key in x.keys() & y.keys())


def rewrite_fault(route: RouteConfig, pattern: Pattern) -> PatternFault | None:
    """Return what is wrong with a route's `rewrite` template."""
    if route.rewrite is None:
        return None
    if not route.rewrite.startswith("/"):
        return PatternFault('rewrite must begin with "/".')
    unknown = set(PLACEHOLDER.findall(route.rewrite)) - set(pattern.names) - {"rest"}
    if unknown:
        return PatternFault(f"rewrite names {', '.join(sorted(unknown))}, which the path lacks.")
    return None


def rewrite_path(match: Match) -> str:
    """Return the path the service sees: the route's `rewrite` template filled in, or `rest`.

    `{name}` is a parameter, percent-encoded whole, so a value can't add a segment; `{rest}` is what
    the wildcard took, without its leading slash.
    """
    template = match.route.rewrite
    if template is None:
        return match.rest or "/"

    def fill(placeholder: re.Match[str]) -> str:
        name = placeholder.group(1)
        if name in match.params:
            return quote(match.params[name], safe="-._~")
        return match.rest.removeprefix("/")

    return PLACEHOLDER.sub(fill, template)
