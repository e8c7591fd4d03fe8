"""The names of `workers.rpc`: RPC targets and the explicit conversions.

On Cloudflare the conversions go between Python and JavaScript values; here both are the copy that a
call makes.
"""

from __future__ import annotations

from workers.values import ByReference, JsDict, clone

__all__ = ["JsDict", "RpcTarget", "python_from_rpc", "python_to_rpc"]


class RpcTarget(ByReference):
    """Base of classes whose instances stay where they are; the other side of a call gets a stub."""


def python_to_rpc(value: object) -> object:
    """Return what the other side of a call would see of `value`. Raises: as `values.clone`."""
    return clone(value)


def python_from_rpc(value: object) -> object:
    """Return the Python value of what came out of a call, which here it is already."""
    return value
