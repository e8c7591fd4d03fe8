"""`ctx.facets`: objects inside an object, each with a class and storage of its own.

A facet has no id by which others could reach it: only the object that it belongs to calls it, by name. It is
started by its first call, from what the callback of `get` says then, and ends with its object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dohost.errors import JsTypeError
from dohost.objects.stub import DurableObjectStub

NAME_BYTES_MAX = 256
Startup = Callable[[], object]


class FacetsHost(Protocol):
    """What `ctx.facets` needs of the actor behind it."""

    def get(self, name: str, startup: Startup) -> DurableObjectStub:
        """Return a stub of the facet; starts nothing. Raises: JsException below the fourth level."""
        ...

    def abort(self, name: str, reason: object) -> None:
        """End a facet that runs; its callers get `reason`."""
        ...

    def delete(self, name: str) -> None:
        """End a facet and delete what it and all below it have stored."""
        ...

    def clone(self, source: str, target: str) -> None:
        """Make `target` a copy of `source`, with all below it."""
        ...


class DurableObjectFacets:
    """The facets of one object."""

    __slots__ = ("_host",)

    def __init__(self, host: FacetsHost) -> None:
        self._host = host

    def get(self, name: str, startup: Startup) -> DurableObjectStub:
        """Return a stub of the facet called `name`.

        `startup` is called if a call finds the facet not running: it returns (or gives, if it is a
        coroutine function) `{"class": ctx.exports.Name}`, perhaps with an `id`.
        """
        name = _name(name, "get")
        if not callable(startup):
            raise _mistyped("get", 2, "function")
        return self._host.get(name, startup)

    # A default would make `None` of a reason that is missing; JavaScript tells the two apart.
    def abort(self, name: str, *reason: object) -> None:
        """End the facet if it runs: calls in flight, and later ones on stubs that reached it, fail.

        They fail with `reason`. What it has stored stays, and its next call starts it again.
        """
        name = _name(name, "abort")
        if not reason:
            raise _mistyped("abort", 2, "Value")
        self._host.abort(name, reason[0])

    def delete(self, name: str) -> None:
        """End the facet and delete what it has stored, with the facets inside it."""
        self._host.delete(_name(name, "delete"))

    def clone(self, source: str, target: str) -> None:
        """Make the facet `target` a copy of `source`; whatever it was before is gone."""
        self._host.clone(_name(source, "clone"), _name(target, "clone", 2))

    def __repr__(self) -> str:
        return "<DurableObjectFacets>"


def _name(name: object, method: str, parameter: int = 1) -> str:
    if not isinstance(name, str):
        raise _mistyped(method, parameter, "string")
    if not name:
        raise JsTypeError("Facet name cannot be empty.")
    if len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
        raise JsTypeError(f"Facet name is too long (max {NAME_BYTES_MAX} characters).")
    return name


def _mistyped(method: str, parameter: int, kind: str) -> JsTypeError:
    return JsTypeError(
        f"Failed to execute '{method}' on 'DurableObjectFacets': parameter {parameter} is not of "
        f"type '{kind}'."
    )
