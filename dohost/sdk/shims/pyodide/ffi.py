"""The module `pyodide.ffi`: conversions between Python and JavaScript, where both are Python.

`to_js` returns what our API accepts in place of a JavaScript object; proxies are thin wrappers that can
be destroyed. `run_sync` can't exist: suspending a synchronous function needs WebAssembly's stack switching.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NoReturn

from workers.values import ArrayBuffer as JsBuffer
from workers.values import JsBigInt, JsDict

from dohost.errors import JsException

__all__ = [
    "JsBigInt",
    "JsBuffer",
    "JsException",
    "JsProxy",
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


def run_sync(awaitable: Awaitable[object]) -> NoReturn:
    """Refuse to wait inside synchronous code."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
    raise RuntimeError("run_sync() can't suspend a synchronous function on CPython; use `await`")


def can_run_sync() -> bool:
    return False
