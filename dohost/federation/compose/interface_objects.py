"""Interfaces as entities: who has to know all implementations, who may know none, and what they gain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from dohost.federation.sdl.model import Kind
from dohost.federation.supergraph import Graph, SuperType

Types = Mapping[str, SuperType]


def interface_errors(types: Types, graphs: Mapping[str, Graph]) -> Iterator[tuple[str, str]]:
    """Yield the code and message of every subgraph that knows too few or too many implementations."""
    for interface in types.values():
        if interface.kind is not Kind.INTERFACE:
            continue
        objects = [t for t in types.values() if _implements(t, interface)]
        for graph, join in interface.joins.items():
            name = graphs[graph].name
            if join.is_interface_object:
                for known in (t.name for t in objects if graph in t.joins):
                    yield (
                        "INTERFACE_OBJECT_USAGE_ERROR",
                        f"[{name}] {interface.name} is an @interfaceObject, but {known} implements it",
                    )
            elif any(key.is_resolvable for key in join.keys):
                for other in objects:
                    if graph not in other.interfaces[interface.name]:
                        yield (
                            "INTERFACE_KEY_MISSING_IMPLEMENTATION_TYPE",
                            f"[{name}] {interface.name} has a @key, but {other.name} does not implement it",
                        )


def _implements(type_: SuperType, interface: SuperType) -> bool:
    return type_.kind is Kind.OBJECT and interface.name in type_.interfaces


def with_interface_object_fields(types: Types) -> Types:
    """Give implementations the fields that only an @interfaceObject contributes to their interface."""
    result = dict(types)
    for interface in types.values():
        objects = {g for g, join in interface.joins.items() if join.is_interface_object}
        if not objects:
            continue
        given = {
            name: msgspec.structs.replace(field, joins={})
            for name, field in interface.fields.items()
            if objects & field.joins.keys()
        }
        for name, type_ in types.items():
            if _implements(type_, interface):
                missing = {n: f for n, f in given.items() if n not in result[name].fields}
                fields = {**result[name].fields, **missing}
                result[name] = msgspec.structs.replace(result[name], fields=fields)
    return result
