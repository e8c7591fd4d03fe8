"""The methods of a service class that text from outside can name, built when the class is created.

The registry is a dictionary and looking a name up in it is the only way from a client's text to a
method: no `getattr`. Inherited base methods, handlers, underscored names and properties can't enter
it, and a subclass that overrides an exposed method without the mark hides it.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping

import msgspec

from dohost.gateway.arguments import Signature
from dohost.gateway.expose import EXPOSE_MARK, RESOLVES_MARK, Exposure, Resolves
from dohost.memo import Memo

RESERVED = frozenset(
    {
        "fetch",
        "alarm",
        "connect",
        "dup",
        "constructor",
        "webSocketMessage",
        "webSocketClose",
        "webSocketError",
    }
)
MATCHES_MEMOISED_MAX = 2_048
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ExposedMethod:
    """One method with its exposure; its signature is worked out on first use, when hints resolve."""

    def __init__(self, name: str, function: Callable[..., object], exposure: Exposure) -> None:
        self.name = name
        self.function = function
        self.exposure = exposure
        self.is_stream = inspect.isasyncgenfunction(function)

    @functools.cached_property
    def signature(self) -> Signature:
        """How arguments bind to this method."""
        return Signature(self.function)

    def __repr__(self) -> str:
        return f"<ExposedMethod {self.function.__qualname__}>"


class PathMatch(msgspec.Struct, frozen=True, kw_only=True):
    """An exposed method that serves a verb and path, and the path's parameters."""

    method: ExposedMethod
    parameters: Mapping[str, str]


class _Path(msgspec.Struct, frozen=True, kw_only=True):
    """One shape of path; `methods` maps a verb to its method and the names of its parameters."""

    segments: tuple[str | None, ...]
    methods: dict[str, tuple[ExposedMethod, tuple[str, ...]]]

    def values(self, segments: list[str]) -> list[str] | None:
        """Return the parameters' values in order, or None where a literal differs."""
        found: list[str] = []
        for wanted, segment in zip(self.segments, segments, strict=True):
            if wanted is None and segment:
                found.append(segment)
            elif wanted != segment:
                return None
        return found


class Registry:
    """Exposed methods by name and by path, and resolvers by schema coordinate.

    `memo` remembers which method served a verb and a raw path; it never changes while the class lives.
    """

    def __init__(
        self,
        methods: Mapping[str, ExposedMethod],
        resolvers: Mapping[str, tuple[Resolves, Callable[..., object]]],
    ) -> None:
        self.methods = methods
        self.resolvers = resolvers
        self._paths = _paths(methods)
        self.memo: Memo[PathMatch] = Memo(entries_max=MATCHES_MEMOISED_MAX)

    def match(self, verb: str, segments: list[str]) -> PathMatch | frozenset[str]:
        """Return the method for a verb and decoded path segments, else the verbs the path allows.

        No verb at all means that the path is unknown. HEAD is served by GET.
        """
        verb = "GET" if verb == "HEAD" else verb
        allowed: set[str] = set()
        for path in self._paths.get(len(segments), ()):
            values = path.values(segments)
            if values is None:
                continue
            if verb in path.methods:
                method, names = path.methods[verb]
                return PathMatch(method=method, parameters=dict(zip(names, values, strict=True)))
            allowed.update(path.methods)
        return frozenset(allowed)


def build_registry(cls: type, base: type) -> Registry:
    """Return the registry of `cls`; names that `base` or its ancestors define can't be exposed.

    Raises: TypeError for a mark that can't be served, so that the class does not load.
    """
    methods: dict[str, ExposedMethod] = {}
    resolvers: dict[str, tuple[Resolves, Callable[..., object]]] = {}
    own = [each for each in cls.__mro__ if not issubclass(base, each)]
    members = {name: member for each in reversed(own) for name, member in vars(each).items()}
    for name, member in members.items():
        if not inspect.isfunction(member):
            continue
        exposure: Exposure | None = getattr(member, EXPOSE_MARK, None)
        if exposure is not None:
            _check_name(cls, base, name)
            methods[name] = ExposedMethod(name, member, exposure)
        for resolution in getattr(member, RESOLVES_MARK, ()):
            if resolution.coordinate in resolvers:
                raise TypeError(
                    f"{cls.__name__}: two methods resolve {resolution.coordinate!r}; keep one."
                )
            resolvers[resolution.coordinate] = (resolution, member)
    return Registry(methods, resolvers)


def _check_name(cls: type, base: type, name: str) -> None:
    if not NAME.fullmatch(name) or name in RESERVED or hasattr(base, name):
        raise TypeError(f"{cls.__name__}.{name} can't be exposed: the name is private or reserved.")


def _paths(methods: Mapping[str, ExposedMethod]) -> dict[int, list[_Path]]:
    by_shape: dict[tuple[str | None, ...], _Path] = {}
    for method in methods.values():
        verb, route = method.exposure.verb, method.exposure.path
        if verb is None or route is None:
            continue
        shape, names = _parse_path(route)
        path = by_shape.setdefault(shape, _Path(segments=shape, methods={}))
        if verb in path.methods:
            other = path.methods[verb][0].name
            raise TypeError(f"{method.name} and {other} both serve {verb} {route}.")
        path.methods[verb] = (method, names)
    by_length: dict[int, list[_Path]] = {}
    for path in by_shape.values():
        by_length.setdefault(len(path.segments), []).append(path)
    for paths in by_length.values():
        # Literal segments beat parameters, left to right.
        paths.sort(key=lambda path: [each is None for each in path.segments])
    return by_length


def _parse_path(route: str) -> tuple[tuple[str | None, ...], tuple[str, ...]]:
    shape: list[str | None] = []
    names: list[str] = []
    for segment in split_path(route):
        if (parameter := PARAMETER.fullmatch(segment)) is not None:
            shape.append(None)
            names.append(parameter[1])
        elif "{" in segment or "}" in segment:
            raise TypeError(f"{route}: a parameter is a whole segment, written {{name}}.")
        else:
            shape.append(segment)
    return tuple(shape), tuple(names)


def split_path(path: str) -> list[str]:
    """Return the segments of a path; the root has none, and one trailing slash adds none."""
    trimmed = path.removeprefix("/").removesuffix("/")
    return trimmed.split("/") if trimmed else []
