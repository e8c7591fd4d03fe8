"""Fragments that lean on others: a service may name a type that another service defines.

Two completions, for lenient subgraphs only, both done on SDL before it is parsed for good:

- a type that is named but not defined gets the stub `type T @key(…)` with the key of the service that
  owns it (the one that defines it with a key);
- if no subgraph at all has a `Query`, each entity of a lenient subgraph can be looked up by its key
  (`user(id: ID!): User`), since a schema without a query can't be asked anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from dohost.federation.sdl.field_set import FieldSet, FieldSetError, SetField, parse_field_set
from dohost.federation.sdl.model import (
    BUILT_IN_SCALARS,
    Applied,
    FieldDef,
    InputDef,
    Kind,
    SubgraphSchema,
    TypeDef,
    named_type,
)


def complete(schemas: Sequence[SubgraphSchema], *, lenient: frozenset[str]) -> list[SubgraphSchema]:
    """Return the schemas with stubs and lookups added to those named in `lenient`."""
    has_query = any("Query" in schema.types for schema in schemas)
    completed: list[SubgraphSchema] = []
    for schema in schemas:
        if schema.name in lenient:
            if not has_query:
                schema = with_lookups(schema)
            schema = _with_stubs(schema, schemas)
        completed.append(schema)
    return completed


def with_lookups(schema: SubgraphSchema) -> SubgraphSchema:
    """Return the schema with a `Query` that looks entities up by key, unless it has a `Query`."""
    if "Query" in schema.types:
        return schema
    fields: dict[str, FieldDef] = {}
    for type_ in schema.types.values():
        key = _flat_key(type_)
        if key:
            name = type_.name[0].lower() + type_.name[1:]
            arguments = {field.name: InputDef(name=field.name, type=field.type) for field in key}
            fields[name] = FieldDef(name=name, type=type_.name, arguments=arguments)
    if not fields:
        return schema
    query = TypeDef(name="Query", kind=Kind.OBJECT, fields=fields)
    return msgspec.structs.replace(schema, types={**schema.types, "Query": query})


def _flat_key(type_: TypeDef) -> tuple[FieldDef, ...]:
    for key in type_.all("key"):
        nodes = _parsed(key)
        names = [node.name for node in nodes if isinstance(node, SetField) and not node.selection]
        if nodes and len(names) == len(nodes) and all(name in type_.fields for name in names):
            return tuple(type_.fields[name] for name in names)
    return ()


def _with_stubs(schema: SubgraphSchema, everyone: Sequence[SubgraphSchema]) -> SubgraphSchema:
    types = dict(schema.types)
    pending = list(_named(schema.types.values()))
    while pending:
        name = pending.pop()
        if name in types or name in BUILT_IN_SCALARS:
            continue
        owner = next((s.types[name] for s in everyone if _owns(s, name)), None)
        if owner is not None:
            types[name] = _stub(owner, owner.all("key")[0])
            pending.extend(_named([types[name]]))
    return msgspec.structs.replace(schema, types=types)


def _owns(schema: SubgraphSchema, name: str) -> bool:
    type_ = schema.types.get(name)
    return type_ is not None and type_.has("key") and not type_.is_extension


def _stub(owner: TypeDef, key: Applied) -> TypeDef:
    fields = {
        node.name: owner.fields[node.name]
        for node in _parsed(key)
        if isinstance(node, SetField) and node.name in owner.fields
    }
    return TypeDef(
        name=owner.name,
        kind=owner.kind,
        fields=fields,
        directives=(Applied(name="key", arguments={**key.arguments, "resolvable": False}),),
    )


def _parsed(key: Applied) -> FieldSet:
    try:
        return parse_field_set(key.text("fields"))
    except FieldSetError:
        return ()  # validation reports the key; here it only means that nothing can be derived


def _named(types: Iterable[TypeDef]) -> Iterable[str]:
    for type_ in types:
        for field in type_.fields.values():
            yield named_type(field.type)
            yield from (named_type(argument.type) for argument in field.arguments.values())


def undefined_types(types: Mapping[str, TypeDef]) -> list[str]:
    """Return the names that output types use and nobody here defines, sorted."""
    return sorted({n for n in _named(types.values()) if n not in types} - BUILT_IN_SCALARS)
