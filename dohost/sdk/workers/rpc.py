"""The names of `workers.rpc`: RPC targets and the explicit conversions.

On Cloudflare the conversions go between Python and JavaScript values; here both are the copy that a
call makes.
"""

from __future__ import annotations

from workers.values import ByReference, JsDict, clone

__all__ = ["JsDict", "RpcTarget", "Symbol", "python_from_rpc", "python_to_rpc"]


class RpcTarget(ByReference):
    """Base of classes whose instances stay where they are; the other side of a call gets a stub.

    `dispose()`, if the class has it, runs once when the last stub has ended. An argument that has `dup()`
    is passed as what that returns. Neither can be called by the other side.
    """


class _Symbol:
    """A key that no data has."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"Symbol({self._name})"


class Symbol:
    """JavaScript's well-known symbols: `stub[Symbol.dispose]()` gives a stub back."""

    dispose = _Symbol("Symbol.dispose")


def python_to_rpc(value: object) -> object:
    """Return what the other side of a call would see of `value`; functions and targets as they are.

    Raises: as `values.clone`.
    """
    return clone(value, wrap=lambda reference: reference)


def python_from_rpc(value: object) -> object:
    """Return the Python value of what came out of a call, which here it is already."""
    return value
