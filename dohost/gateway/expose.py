"""The marks that make a method callable from outside: `@expose` and `@resolves`.

A mark is data on the function; nothing happens until the class is created and its registry is built
(registry.py). A method without a mark can't be reached by any text that a client sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict, TypeVar, Unpack, overload

import msgspec

EXPOSE_MARK = "__gateway_expose__"
RESOLVES_MARK = "__gateway_resolves__"
SAFE_VERBS = frozenset({"GET", "HEAD"})
VERBS = SAFE_VERBS | {"POST", "PUT", "PATCH", "DELETE"}

Method = TypeVar("Method", bound=Callable[..., object])


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """How a method is reached, and what its answer means to caches.

    `verb` and `path` are None for a method that only aggregate calls and other services reach.
    """

    verb: str | None
    path: str | None
    cache_ttl_s: float | None
    tags: tuple[str, ...]
    invalidates: tuple[str, ...]
    status: int
    is_safe: bool
    is_aggregatable: bool


class Resolves(msgspec.Struct, frozen=True, kw_only=True):
    """Which schema coordinate a method resolves: `Query.user`, `User` (entity) or `User.orders`."""

    coordinate: str
    is_batch: bool


class ExposeOptions(TypedDict, total=False):
    """Keywords of `@expose`; `cache` is a time to live in seconds."""

    cache: float
    tags: Sequence[str]
    invalidates: Sequence[str]
    status: int
    safe: bool
    aggregate: bool


@overload
def expose(route: Method) -> Method: ...


@overload
def expose(
    route: str | None = None, **options: Unpack[ExposeOptions]
) -> Callable[[Method], Method]: ...


def expose(
    route: str | Callable[..., object] | None = None, **options: Unpack[ExposeOptions]
) -> object:
    """Make a method callable over REST (`"GET /{id}"`), by aggregate calls and by other services.

    GET, or `safe=True`, promises that the method only reads; a method that writes is callable by
    aggregate only with `aggregate=True`. Tag templates name arguments, members of a body, or members
    of the result: `tags=["user:{id}"]`.
    """
    if callable(route):
        return expose()(route)
    exposure = _exposure(route, options)

    def mark(method: Method) -> Method:
        setattr(method, EXPOSE_MARK, exposure)
        return method

    return mark


def _exposure(route: str | None, options: ExposeOptions) -> Exposure:
    verb, path = _parse_route(route) if route is not None else (None, None)
    is_safe = options.get("safe", verb in SAFE_VERBS)
    return Exposure(
        verb=verb,
        path=path,
        cache_ttl_s=options.get("cache"),
        tags=tuple(options.get("tags", ())),
        invalidates=tuple(options.get("invalidates", ())),
        status=options.get("status", 200),
        is_safe=is_safe,
        is_aggregatable=is_safe or options.get("aggregate", False),
    )


def _parse_route(route: str) -> tuple[str, str]:
    verb, _, path = route.partition(" ")
    if verb not in VERBS or not path.startswith("/"):
        raise TypeError(
            f'@expose("{route}"): write it as "GET /path", with one of {sorted(VERBS)}.'
        )
    return verb, path


def resolves(coordinate: str, *, batch: bool = False) -> Callable[[Method], Method]:
    """Make a method resolve one coordinate of the class's `schema`.

    `"Query.user"`: a root field, arguments by name. `"User"`: an entity, called with one
    representation, or with all of them when `batch=True`. `"User.orders"`: a field, parent first.
    """
    resolution = Resolves(coordinate=coordinate, is_batch=batch)

    def mark(method: Method) -> Method:
        earlier: tuple[Resolves, ...] = getattr(method, RESOLVES_MARK, ())
        setattr(method, RESOLVES_MARK, (*earlier, resolution))
        return method

    return mark
