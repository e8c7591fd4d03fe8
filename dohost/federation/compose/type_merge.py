"""Merging two types that different subgraphs give to one element, on GraphQL text.

Output positions are covariant (the most general type wins), input positions contravariant (the strictest
wins). `None` means that the types don't go together.
"""

from __future__ import annotations

from collections.abc import Callable

IsSubtype = Callable[[str, str], bool]


def merge_output(left: str, right: str, *, is_subtype: IsSubtype) -> str | None:
    """Return the type that covers both, or None."""
    if left.endswith("!") and right.endswith("!"):
        inner = merge_output(left[:-1], right[:-1], is_subtype=is_subtype)
        return None if inner is None else inner + "!"
    left, right = left.removesuffix("!"), right.removesuffix("!")
    if left.startswith("[") and right.startswith("["):
        inner = merge_output(left[1:-1], right[1:-1], is_subtype=is_subtype)
        return None if inner is None else f"[{inner}]"
    if left == right or is_subtype(right, left):
        return left
    return right if is_subtype(left, right) else None


def merge_input(left: str, right: str) -> str | None:
    """Return the strictest type that both accept, or None."""
    if left.endswith("!") or right.endswith("!"):
        inner = merge_input(left.removesuffix("!"), right.removesuffix("!"))
        return None if inner is None else inner + "!"
    if left.startswith("[") and right.startswith("["):
        inner = merge_input(left[1:-1], right[1:-1])
        return None if inner is None else f"[{inner}]"
    return left if left == right else None
