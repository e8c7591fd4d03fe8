"""Objects at a place in the response, and the representations that stand for them.

Lists are walked through wherever they are. Equal representations are sent once: `slots` says for each
object which representation is its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from dohost.federation.contract import JsonObject
from dohost.federation.plan.plan import EntityTarget, InputField, PathStep

_encode = msgspec.json.Encoder().encode
ResponsePath = tuple[str | int, ...]


class Gathered(msgspec.Struct, kw_only=True):
    """What one fetch sends and where each answer goes."""

    representations: list[JsonObject]
    objects: list[tuple[JsonObject, int]]
    """Each object that waits, with the index of its representation."""


def gather(data: JsonObject, targets: Sequence[EntityTarget]) -> Gathered:
    """Collect the representations of a fetch; objects that lack a needed member are left out."""
    representations: list[JsonObject] = []
    objects: list[tuple[JsonObject, int]] = []
    index_of: dict[bytes, int] = {}
    for target in targets:
        for found in _objects(data, target.path, 0):
            representation = _representation(found, target)
            if representation is None:
                continue
            identity = _encode(representation)
            slot = index_of.get(identity)
            if slot is None:
                slot = index_of[identity] = len(representations)
                representations.append(representation)
            objects.append((found, slot))
    return Gathered(representations=representations, objects=objects)


def reached(data: JsonObject, path: tuple[PathStep, ...]) -> Gathered:
    """Return the objects at a place that all wait for one answer, the root's; nothing stands for them."""
    objects = [(found, 0) for found in _objects(data, path, 0)]
    return Gathered(representations=[], objects=objects)


def _objects(value: object, path: tuple[PathStep, ...], at: int) -> Iterator[JsonObject]:
    if isinstance(value, list):
        for item in value:
            yield from _objects(item, path, at)
        return
    if not isinstance(value, dict):
        return
    while at < len(path) and path[at].on:
        if value.get("__typename") != path[at].on:
            return
        at += 1
    if at == len(path):
        yield value
    else:
        yield from _objects(value.get(path[at].key), path, at + 1)


def _representation(found: JsonObject, target: EntityTarget) -> JsonObject | None:
    representation: JsonObject = {"__typename": target.type}
    for field in target.inputs:
        value = _read(found.get(field.response_key), field)
        if value is None and field.name in target.required:
            return None
        representation[field.name] = value
    return representation


def _read(value: object, field: InputField) -> object:
    if not field.inputs or value is None:
        return value
    if isinstance(value, list):
        return [_read(item, field) for item in value]
    if not isinstance(value, dict):
        return None
    typename = value.get("__typename")
    read: JsonObject = {} if typename is None else {"__typename": typename}
    for inner in field.inputs:
        if inner.on and inner.on != typename:
            continue
        read[inner.name] = _read(value.get(inner.response_key), inner)
    return read


def locate(data: object, wanted: dict[int, list[ResponsePath]], path: ResponsePath = ()) -> None:
    """Fill in the response paths of the objects whose identities are the keys of `wanted`.

    Paths are needed for error messages only, so nothing keeps them while all goes well.
    """
    if isinstance(data, list):
        for index, item in enumerate(data):
            locate(item, wanted, (*path, index))
    elif isinstance(data, dict):
        if id(data) in wanted:
            wanted[id(data)].append(path)
        for key, item in data.items():
            if isinstance(item, dict | list):
                locate(item, wanted, (*path, key))
