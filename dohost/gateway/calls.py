"""The mission's `$`, in Python: handles on services, and calls that wait to be run.

`services.users` is a handle on the service's default object, `services.users("alice")` on the object
of that name, and `.get("alice")` on either makes a lazy `Call`: a value that says what to call. Nothing
happens until it is awaited, alone or with others in `aggregate`; how it runs is the `CallRunner`'s
matter (directly from a service; under limiter, breakers and cache in the gateway).
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Mapping
from typing import Any, Protocol

import msgspec

DEFAULT_METHOD = "get"


class CallSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to call; `object_value` fills the service's object template, None takes its default."""

    service: str
    method: str
    args: list[object] | dict[str, object] = msgspec.field(default_factory=list)
    object_value: str | None = None


class CallRunner(Protocol):
    """Runs calls."""

    def run(self, spec: CallSpec) -> Awaitable[object]:
        """Start the call and return its result as plain JSON types; raise ServiceError."""
        ...


class Call:
    """A call that has not been made; awaiting it makes it, once per await."""

    __slots__ = ("_runner", "spec")

    def __init__(self, runner: CallRunner, spec: CallSpec) -> None:
        self._runner = runner
        self.spec = spec

    # A result is JSON whose type only its service knows; callers check or annotate what they use.
    def __await__(self) -> Generator[Any, None, Any]:
        return self._runner.run(self.spec).__await__()

    def __repr__(self) -> str:
        return f"<Call {self.spec.service}.{self.spec.method}>"


class BoundMethod:
    """A method of a service's object, waiting for arguments."""

    __slots__ = ("_runner", "_spec")

    def __init__(self, runner: CallRunner, spec: CallSpec) -> None:
        self._runner = runner
        self._spec = spec

    def __call__(self, *args: object, **named: object) -> Call:
        if args and named:
            raise TypeError(
                f"{self._spec.method}(): pass arguments by position or by name, not both."
            )
        given: list[object] | dict[str, object] = named if named else list(args)
        return Call(self._runner, msgspec.structs.replace(self._spec, args=given))


class Handle:
    """One object of a service; attributes are its methods."""

    __slots__ = ("_object_value", "_runner", "_service")

    def __init__(
        self, runner: CallRunner, service: str, *, object_value: str | None = None
    ) -> None:
        self._runner = runner
        self._service = service
        self._object_value = object_value

    def __call__(self, object_value: str) -> Handle:
        return Handle(self._runner, self._service, object_value=object_value)

    def __getattr__(self, method: str) -> BoundMethod:
        if method.startswith("_"):
            raise AttributeError(method)
        return BoundMethod(self._runner, self._spec(method))

    def __repr__(self) -> str:
        return f"<Handle {self._service} {self._object_value or 'default object'}>"

    def _spec(self, method: str) -> CallSpec:
        return CallSpec(service=self._service, method=method, object_value=self._object_value)


class Services:
    """Handles by service name; an unknown name is an AttributeError that lists the known ones."""

    __slots__ = ("_names", "_runner")

    def __init__(self, runner: CallRunner, names: Mapping[str, object]) -> None:
        self._runner = runner
        self._names = names

    def __getattr__(self, name: str) -> Handle:
        if name not in self._names:
            raise AttributeError(f"No service {name!r}; configured: {', '.join(self._names)}.")
        return Handle(self._runner, name)


def spec_of(value: object) -> CallSpec:
    """Return what a call, a bare handle (its `get`) or a plain object describes.

    Raises: TypeError for anything else; msgspec.ValidationError for an object of another shape.
    """
    if isinstance(value, Call):
        return value.spec
    if isinstance(value, Handle):
        return value._spec(DEFAULT_METHOD)
    if isinstance(value, Mapping):
        return msgspec.convert(dict(value), CallSpec)
    raise TypeError(f"aggregate takes calls and handles, not {type(value).__qualname__}.")
