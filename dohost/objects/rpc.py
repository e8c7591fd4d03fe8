"""Calls between objects: what may be called, what a caller awaits, and how errors cross.

Callable are plain functions written in the class body of the user's class or of a base of it (not of
`DurableObject` itself), whose name does not begin with an underscore and is not reserved. The table is
built once per class; a name from outside is only ever looked up in it.

A call starts when it is made. Its `Reply` may be awaited any number of times; one that is already there is
returned without a trip through the event loop.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from types import FunctionType

from dohost.errors import AbortError, DohostError, JsException, JsRangeError, JsTypeError

Method = Callable[..., object]

RESERVED = frozenset(
    {
        "fetch",
        "connect",
        "alarm",
        "webSocketMessage",
        "webSocketClose",
        "webSocketError",
        "dup",
        "constructor",
    }
)
# `fetch` and the handlers' names are ordinary on an RPC target; `dispose` is what its last stub runs.
TARGET_RESERVED = frozenset({"constructor", "dispose", "dup"})


def method_table(
    cls: type, *, roots: tuple[type, ...], reserved: frozenset[str] = RESERVED
) -> Mapping[str, Method]:
    """Return the functions of `cls` that may be called from outside, by name.

    `roots` are the SDK's own base classes: nothing that they define is callable.
    """
    table: dict[str, Method] = {}
    for base in reversed(cls.__mro__):
        if base in roots or base is object:
            continue
        for name, attribute in vars(base).items():
            table.pop(name, None)
            if (
                isinstance(attribute, FunctionType)
                and not name.startswith("_")
                and name not in reserved
            ):
                table[name] = attribute
    return table


def refuse_method(cls: type, name: str, instance: object) -> JsException:
    """Return the error for a name that is not in the table, as Cloudflare words it."""
    if name in RESERVED:
        if name == "fetch":
            return AbortError("Method fetch does not exist")
        return JsTypeError(f"'{name}' is a reserved method and cannot be called over RPC.")
    if hasattr(cls, name) or name in getattr(instance, "__dict__", {}):
        return JsTypeError(f'The RPC receiver does not implement the method "{name}".')
    return JsTypeError(f"Method {name} does not exist")


def refuse_target_method(name: str) -> JsException:
    """Return the error for a name that an RPC target or a function does not have."""
    if name in TARGET_RESERVED:
        return JsTypeError(f"'{name}' is a reserved method and cannot be called over RPC.")
    return JsTypeError(f'The RPC receiver does not implement the method "{name}".')


def to_remote_error(error: BaseException, object_id: str | None) -> JsException:
    """Return `error` as the caller on the other side of a call sees it.

    The class of a Python exception is lost, as on Cloudflare (a RecursionError is JavaScript's for the same); the message carries its traceback, and
    here `__cause__` is the exception itself, so that a debugger and a log still have it.
    """
    if isinstance(error, JsException):
        remote = error
        if error.durableObjectId is not None and error.durableObjectId != object_id:
            object_id = error.durableObjectId
    elif isinstance(error, DohostError):
        remote = told_as_js(error)
    elif isinstance(error, RecursionError):
        remote = JsRangeError("Maximum call stack size exceeded")
        remote.__cause__ = error
    else:
        text = "".join(traceback.format_exception(error)).rstrip("\n")
        remote = JsException(text, name="PythonError")
        remote.__cause__ = error
    remote.remote = True
    remote.durableObjectId = object_id
    return remote


def told_as_js(error: DohostError) -> JsException:
    """Return an error of the host's as Worker code hears it: the class that programs catch, and the same flags."""
    if isinstance(error, JsException):
        return error
    told = JsException(str(error))
    # A full disk stays a 507 and a lack of descriptors a 503, however many calls it crosses.
    told.code = error.code
    told.retryable = error.retryable
    told.overloaded = error.overloaded
    told.durableObjectReset = error.durableObjectReset
    told.__cause__ = error
    return told


class Reply(asyncio.Future[object]):
    """The outcome of a call that has been made; await it for the value or the error.

    It is a future of the caller's own: cancelling the caller cancels this and not the callee, `gather`
    takes it without making a task, and an error that nobody ever asks for is reported by asyncio.
    """

    __slots__ = ()

    def resolve(self, value: object) -> None:
        """Give the value; a second outcome, or one that comes after a cancellation, is ignored."""
        if not self.done():
            self.set_result(value)

    def reject(self, error: BaseException) -> None:
        """Give the error, under the same rule."""
        if not self.done():
            self.set_exception(error)
