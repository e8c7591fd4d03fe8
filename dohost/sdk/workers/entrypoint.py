"""The classes that a worker exports.

A subclass that overrides `__init__` calls `super().__init__(ctx, env)` to get `self.ctx` and `self.env`;
nothing else is set on an instance. The host finds exported classes by these bases and calls their
handlers; what the handlers are is the host's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Handler = TypeVar("Handler", bound=Callable[..., object])


class DurableObjectAbort(BaseException):
    """Leaves user code when its object is aborted, past every `except Exception`."""


class _Entrypoint:
    """What the three kinds of entrypoint share: the context and the bindings."""

    # Their classes are the host's, which this package can't name; worker code declares its own bindings.
    ctx: Any
    env: Any

    def __init__(self, ctx: object, env: object) -> None:
        self.ctx = ctx
        self.env = env


class DurableObject(_Entrypoint):
    """Base of a Durable Object's class."""


class WorkerEntrypoint(_Entrypoint):
    """Base of an entrypoint; the one named `Default` answers the worker's requests."""


class WorkflowEntrypoint(_Entrypoint):
    """Base of a workflow's class."""


def handler(function: Handler) -> Handler:
    """Mark a module-level `on_fetch` as a handler; its arguments need no conversion here."""
    return function
