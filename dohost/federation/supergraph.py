"""The supergraph in memory: every type once, with who resolves what.

A field carries one `FieldJoin` for each subgraph that declares it, always spelled out (the printed form
leaves the obvious ones away). `graph` is the id of a subgraph, its name in the `join__Graph` enum.
Planner and printer read this; only `compose.merge` and `read` make it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dohost.federation.sdl.model import Applied, EnumValueDef, InputDef, Kind


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """One subgraph of the supergraph."""

    id: str
    name: str
    url: str = ""
    root_fields_apart: bool = False


class FieldJoin(msgspec.Struct, frozen=True, kw_only=True):
    """How one subgraph takes part in a field. `type` is set where it differs from the merged type."""

    graph: str
    type: str | None = None
    external: bool = False
    requires: str | None = None
    provides: str | None = None
    override: str | None = None
    used_overridden: bool = False
    override_label: str | None = None

    @property
    def is_resolvable(self) -> bool:
        """Tell whether this subgraph answers the field wherever the type occurs."""
        return not self.external and not self.used_overridden


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One `@key` of a type in one subgraph."""

    fields: str
    is_resolvable: bool = True


class TypeJoin(msgspec.Struct, frozen=True, kw_only=True):
    """How one subgraph knows a type."""

    graph: str
    keys: tuple[Key, ...] = ()
    is_interface_object: bool = False


class SuperField(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a merged type."""

    name: str
    type: str
    arguments: Mapping[str, InputDef] = {}
    joins: Mapping[str, FieldJoin] = {}
    directives: tuple[Applied, ...] = ()
    description: str | None = None


class SuperInput(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a merged input type, with the subgraphs that have it."""

    definition: InputDef
    graphs: tuple[str, ...] = ()


class SuperValue(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a merged enum, with the subgraphs that have it."""

    definition: EnumValueDef
    graphs: tuple[str, ...] = ()


class SuperType(msgspec.Struct, frozen=True, kw_only=True):
    """A merged type. `interfaces` and `members` map a name to the subgraphs that say so."""

    name: str
    kind: Kind
    joins: Mapping[str, TypeJoin]
    fields: Mapping[str, SuperField] = {}
    inputs: Mapping[str, SuperInput] = {}
    values: Mapping[str, SuperValue] = {}
    interfaces: Mapping[str, tuple[str, ...]] = {}
    members: Mapping[str, tuple[str, ...]] = {}
    directives: tuple[Applied, ...] = ()
    description: str | None = None

    @property
    def is_abstract(self) -> bool:
        """Tell whether values of this type are values of some object type."""
        return self.kind in (Kind.INTERFACE, Kind.UNION)


class Supergraph(msgspec.Struct, frozen=True, kw_only=True):
    """All subgraphs and all merged types."""

    graphs: Mapping[str, Graph]
    types: Mapping[str, SuperType]

    def possible_types(self, name: str, graph: str | None = None) -> tuple[str, ...]:
        """Return the object types that a value of type `name` can have, perhaps as `graph` knows it."""
        type_ = self.types[name]
        if type_.kind is Kind.UNION:
            return tuple(m for m, at in type_.members.items() if graph is None or graph in at)
        if type_.kind is not Kind.INTERFACE:
            return (name,)
        return tuple(
            other.name
            for other in self.types.values()
            if other.kind is Kind.OBJECT
            and name in other.interfaces
            and (graph is None or graph in other.interfaces[name])
        )

    def field_type(self, type_name: str, field: str, graph: str) -> str:
        """Return the type of a field as `graph` declares it."""
        found = self.types[type_name].fields[field]
        join = found.joins.get(graph)
        return join.type if join is not None and join.type is not None else found.type


def is_inaccessible(directives: tuple[Applied, ...]) -> bool:
    """Tell whether an element is kept out of the API schema."""
    return any(applied.name == "inaccessible" for applied in directives)
