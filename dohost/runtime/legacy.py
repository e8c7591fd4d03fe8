"""Handlers as they were written before `python_no_global_handlers` (compatibility date 2025-08-14).

A module answered by a function `on_fetch(request, env, ctx)`, and classes by methods named `on_…`. Surplus
arguments are dropped. Workers of a newer date have classes with `fetch` only, and such names mean nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from types import ModuleType

from workers import Request, Response, WorkerEntrypoint

from dohost.errors import UserCodeError

_GLOBAL_HANDLERS = ("on_fetch", "on_scheduled", "on_queue", "on_alarm")
_METHODS = ("fetch", "alarm", "scheduled", "queue")
_SOCKET_METHODS = ("webSocketMessage", "webSocketClose", "webSocketError")


def legacy_exports(module: ModuleType, exports: dict[str, type]) -> dict[str, type]:
    """Return `exports` with the module's global handlers as its Default entrypoint.

    Classes get their `on_…` methods under today's names. Raises: UserCodeError if there is a Default as
    well.
    """
    handlers = [name for name in _GLOBAL_HANDLERS if callable(getattr(module, name, None))]
    if handlers and "Default" in exports:
        raise UserCodeError("TypeError: Cannot define multiple default entrypoints")
    for cls in exports.values():
        for name in (*_METHODS, *_SOCKET_METHODS):
            method = getattr(cls, f"on_{name}", None)
            if method is not None and not hasattr(cls, name):
                setattr(cls, name, _relaxed_method(method))
    on_fetch = getattr(module, "on_fetch", None)
    if not callable(on_fetch):
        return exports
    return {**exports, "Default": _default_for(on_fetch)}


def _default_for(on_fetch: Callable[..., Awaitable[Response] | Response]) -> type:
    count = _positional_count(on_fetch)

    class Default(WorkerEntrypoint):
        def fetch(self, request: Request) -> Awaitable[Response] | Response:
            return on_fetch(*(request, self.env, self.ctx)[:count])

    return Default


def _relaxed_method(method: Callable[..., object]) -> Callable[..., object]:
    """Return an `on_…` method as a handler: it may take `env` and `ctx` behind its own arguments."""
    count = _positional_count(method) - 1

    def call(self: WorkerEntrypoint, *args: object) -> object:
        return method(self, *(*args, self.env, self.ctx)[:count])

    return call


def _positional_count(function: Callable[..., object]) -> int:
    parameters = inspect.signature(function).parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        # More than any handler is given.
        return 16
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in kinds for each in parameters)
