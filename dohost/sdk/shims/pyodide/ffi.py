"""The module `pyodide.ffi`: conversions between Python and JavaScript, where both are Python.

`to_js` returns what our API accepts in place of a JavaScript object; proxies are thin wrappers that can
be destroyed. `run_sync` waits through the host, which can put the stack of synchronous code aside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from workers.context import suspend
from workers.values import ArrayBuffer as JsBuffer
from workers.values import JsBigInt, JsDict

from dohost.errors import JsException

__all__ = [
    "JsBigInt",
    "JsBuffer",
    "JsException",
    "JsProxy",
    "can_run_sync",
    "create_once_callable",
    "create_proxy",
    "run_sync",
    "to_js",
]


class JsProxy:
    """What `create_proxy` returns; no other value is a proxy here."""

    def __init__(self, target: object) -> None:
        self._target = target
        self._is_destroyed = False

    def destroy(self) -> None:
        """Let the target go; using the proxy afterwards raises."""
        self._is_destroyed = True
        self._target = None

    def unwrap(self) -> object:
        """Return the target."""
        if self._is_destroyed:
            raise JsException("Object has already been destroyed")
        return self._target

    to_py = unwrap

    def __call__(self, *args: object, **named: object) -> object:
        return self.unwrap()(*args, **named)

    def __getattr__(self, name: str) -> object:
        return getattr(self.unwrap(), name)


class _OnceCallable(JsProxy):
    """A proxy that destroys itself when it is called."""

    def __call__(self, *args: object, **named: object) -> object:
        target = self.unwrap()
        self.destroy()
        return target(*args, **named)


def to_js(
    value: object,
    *,
    dict_converter: Callable[[Iterable[list[object]]], object] | None = None,
    **options: object,
) -> object:
    """Return `value` with tuples as lists and dicts as objects; other options change nothing here."""
    match value:
        case list() | tuple():
            return [to_js(item, dict_converter=dict_converter) for item in value]
        case dict():
            pairs = [
                [key, to_js(item, dict_converter=dict_converter)] for key, item in value.items()
            ]
            return JsDict(pairs) if dict_converter is None else dict_converter(pairs)
        case set() | frozenset():
            return {to_js(item) for item in value}
        case bytearray():
            return bytes(value)
        case _:
            return value


def create_proxy(value: object, **options: object) -> JsProxy:
    """Return a proxy of `value` that lives until it is destroyed."""
    return JsProxy(value)


def create_once_callable(function: Callable[..., object], **options: object) -> JsProxy:
    """Return a proxy of `function` that can be called once."""
    return _OnceCallable(function)


def run_sync(awaitable: Awaitable[object]) -> object:
    """Wait for `awaitable` in synchronous code and return its result.

    Raises: what the awaitable raises; RuntimeError outside the handlers and methods that a host called.
    """
    wait = suspend.get()
    if wait is None:
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()
        raise RuntimeError(
            "run_sync() can only wait in handlers and methods that a host called; use `await` here"
        )
    return wait(awaitable)


def can_run_sync() -> bool:
    """Return whether `run_sync` may be called here."""
    return suspend.get() is not None
