"""JSON objects from parties that may lie: duplicate members, NaN and other extensions are refused,
because two parsers could read them as two different things."""

from __future__ import annotations

import json
from collections.abc import Sequence


def strict_object(text: bytes) -> dict[str, object] | None:
    """Return a JSON object, or `None` for anything else or for an ambiguous one."""
    try:
        value = json.loads(text.decode(), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Return the members of an object. Raises: ValueError if one occurs twice."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def refuse(constant: str) -> object:
    """Refuse NaN and the infinities. Raises: ValueError."""
    raise ValueError(f"{constant} is not JSON")
