"""The arguments of one call: copies, each on its own, of what together is one message of 32 MiB at most.

Most calls pass a few short texts, numbers and flat dicts. These are not measured, because few of them stay
under the bound whatever their characters (two bytes each at most).
"""

from __future__ import annotations

from collections.abc import Callable

from workers.values import (
    CLONE_BYTES_MAX,
    JsDict,
    are_scalars,
    check_size,
    clone,
    clone_sized,
    is_flat,
)

# 1,000 texts of 16 Ki characters; 6 dicts with 64 texts and keys of that length, and 4 MiB besides.
SCALARS_MAX = 1000
FLAT_VALUES_MAX = 6
MEASURED_BYTES_MAX = CLONE_BYTES_MAX // 8


def clone_all(
    values: tuple[object, ...], *, wrap: Callable[[object], object] | None = None
) -> tuple[object, ...]:
    """Return copies of a call's arguments; `wrap` and what is raised are as of `clone`."""
    if len(values) <= SCALARS_MAX and are_scalars(values):
        # Most calls pass what needs no copy.
        return values
    if len(values) == 1:
        return (clone(values[0], wrap=wrap),)
    copies: list[object] = []
    unmeasured: list[object] = []
    measured_bytes = 0
    for value in values:
        if _is_small(value):
            unmeasured.append(value)
            copies.append(JsDict(value) if isinstance(value, dict) else value)
        else:
            copy, size = clone_sized(value, wrap=wrap)
            copies.append(copy)
            measured_bytes += size
    if measured_bytes > MEASURED_BYTES_MAX or len(unmeasured) > FLAT_VALUES_MAX:
        check_size(measured_bytes + sum([clone_sized(value)[1] for value in unmeasured]))
    return tuple(copies)


def _is_small(value: object) -> bool:
    if type(value) is dict or type(value) is JsDict:
        return is_flat(value)  # type: ignore[arg-type]  # a dict
    return are_scalars((value,))
