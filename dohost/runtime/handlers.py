"""The handlers of an object's class: called by the host, with no more arguments than they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable

Handler = Callable[..., object]


def handler_of(
    cls: type, name: str, *, switching: Callable[[Handler], Handler] | None = None
) -> Handler | None:
    """Return the handler `name` of a class as a function of the instance and its arguments, or None.

    Surplus positional arguments are dropped: `alarm(self)` is as good as `alarm(self, info)`.
    `switching` puts it on a stack of its own.
    """
    handler: Handler | None = getattr(cls, name, None)
    if handler is None:
        return None
    parameters = inspect.signature(handler).parameters.values()
    run = handler if switching is None else switching(handler)
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return run
    taken = sum(
        parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        for parameter in parameters
    )

    def call(*arguments: object) -> object:
        return run(*arguments[:taken])

    return call
