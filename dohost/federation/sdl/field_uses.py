"""Which fields a subgraph's keys, field sets and interfaces speak of."""

from __future__ import annotations

from collections.abc import Mapping

from dohost.federation.sdl.field_set import FieldSet, FieldSetError, SetField, parse_field_set
from dohost.federation.sdl.model import Applied, TypeDef, named_type

Types = Mapping[str, TypeDef]
Place = tuple[str, str]
"""A type and one of its fields, by name."""


def key_fields(type_: TypeDef) -> frozenset[str]:
    """Return the names of the top-level fields of a type's keys."""
    return frozenset(
        node.name for key in type_.all("key") for node in _parsed(key) if isinstance(node, SetField)
    )


def used_fields(types: Types) -> frozenset[Place]:
    """Return the fields that a subgraph's field sets and interfaces need."""
    used: set[Place] = set(provided_fields(types))
    for type_ in types.values():
        for key in type_.all("key"):
            used |= _named(_parsed(key), type_.name, types)
        for field in type_.fields.values():
            requires = field.get("requires")
            used |= _named(_parsed(requires), type_.name, types) if requires else set()
        for interface in type_.interfaces:
            if interface in types:
                used |= {(type_.name, name) for name in types[interface].fields}
    return frozenset(used)


def provided_fields(types: Types) -> frozenset[Place]:
    """Return the fields that a subgraph's `@provides` name: there it resolves them, @external or not."""
    provided: set[Place] = set()
    for type_ in types.values():
        for field in type_.fields.values():
            provides = field.get("provides")
            if provides is not None:
                provided |= _named(_parsed(provides), named_type(field.type), types)
    return frozenset(provided)


def _named(nodes: FieldSet, on: str, types: Types) -> set[Place]:
    """Return the fields of a set, an interface's with those of its implementations."""
    found: set[Place] = set()
    for node in nodes:
        if not isinstance(node, SetField):
            found |= _named(node.selection, node.on, types)
            continue
        found.add((on, node.name))
        if on not in types:
            continue
        found.update((t.name, node.name) for t in types.values() if on in t.interfaces)
        if node.name in types[on].fields:
            found |= _named(node.selection, named_type(types[on].fields[node.name].type), types)
    return found


def _parsed(applied: Applied) -> FieldSet:
    try:
        return parse_field_set(applied.text("fields"))
    except FieldSetError:
        return ()  # validation has reported it
