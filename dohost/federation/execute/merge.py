"""Merging a subgraph's answer into the response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dohost.federation.contract import JsonObject
from dohost.federation.plan.plan import Rename


def merge_into(target: JsonObject, source: Mapping[str, object]) -> None:
    """Merge deeply: objects by member, lists of equal length by index; something beats null.

    Nothing of `source` is shared with `target` afterwards, since two places may take one answer.
    """
    for key, value in source.items():
        target[key] = _merged(target.get(key), value)


def _merged(known: object, value: object) -> object:
    if isinstance(value, Mapping):
        merged: JsonObject = known if isinstance(known, dict) else {}
        merge_into(merged, value)
        return merged
    if isinstance(value, list):
        if isinstance(known, list) and len(known) == len(value):
            return [_merged(left, right) for left, right in zip(known, value, strict=True)]
        return [_merged(None, item) for item in value]
    return known if value is None else value


def rename(data: object, renames: Sequence[Rename]) -> None:
    """Put aliases that only the subgraph saw back to their response keys."""
    for one in renames:
        _rename_at(data, one, 0)


def _rename_at(value: object, one: Rename, at: int) -> None:
    if isinstance(value, list):
        for item in value:
            _rename_at(item, one, at)
    elif isinstance(value, dict):
        if at < len(one.path):
            _rename_at(value.get(one.path[at]), one, at + 1)
        elif one.alias in value:
            value[one.response_key] = value.pop(one.alias)
