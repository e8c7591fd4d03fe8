"""Federation 1 documents become Federation 2 ones, so that only one set of rules exists after this.

What Federation 1 left implicit is made explicit: `@external` that meant nothing goes, key fields of an
extension are the extension's own, field sets shrink to what is external in them, and every field that two
subgraphs resolve is shareable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from dohost.federation.contract import CompositionError
from dohost.federation.sdl.field_set import (
    FieldSet,
    FieldSetError,
    SetField,
    SetNode,
    parse_field_set,
    print_field_set,
)
from dohost.federation.sdl.field_uses import provided_fields, used_fields
from dohost.federation.sdl.model import (
    ROOT_TYPES,
    Applied,
    FieldDef,
    Kind,
    SubgraphSchema,
    TypeDef,
    named_type,
)

Types = Mapping[str, TypeDef]


def upgrade(schemas: Sequence[SubgraphSchema]) -> list[SubgraphSchema] | list[CompositionError]:
    """Upgrade the Federation 1 schemas among `schemas`; the others pass unchanged."""
    errors = _extensions_without_base(schemas)
    if errors:
        return errors
    upgraded = [_upgrade_one(s) if s.is_federation_1 else s for s in schemas]
    provided = {schema.name: provided_fields(schema.types) for schema in upgraded}
    counts = Counter(
        (type_.name, field.name)
        for schema in upgraded
        for type_ in schema.types.values()
        if type_.kind is Kind.OBJECT and type_.name != "Subscription"
        for field in type_.fields.values()
        if not field.has("external") or (type_.name, field.name) in provided[schema.name]
    )
    return [_with_shareable(s, counts) if s.is_federation_1 else s for s in upgraded]


def _extensions_without_base(schemas: Sequence[SubgraphSchema]) -> list[CompositionError]:
    based = {t.name for s in schemas for t in s.types.values() if not t.is_extension}
    return [
        CompositionError(
            code="EXTENSION_WITH_NO_BASE",
            message=f"[{schema.name}] {type_.name} is extended, but no subgraph defines it",
            nodes=(type_.position,),
        )
        for schema in schemas
        for type_ in schema.types.values()
        if type_.is_extension and type_.name not in based and type_.name not in ROOT_TYPES
    ]


def _upgrade_one(schema: SubgraphSchema) -> SubgraphSchema:
    types = {name: _without_idle_external(t) for name, t in schema.types.items()}
    types = {name: _with_pruned_sets(t, types) for name, t in types.items()}
    used = used_fields(types)
    types = {name: _without_unused(t, used) for name, t in types.items()}
    return msgspec.structs.replace(
        schema, types={n: t for n, t in types.items() if t.fields or not schema.types[n].fields}
    )


def _without_idle_external(type_: TypeDef) -> TypeDef:
    keys = {
        node.name
        for key in type_.all("key")
        for node in _parsed(key.text("fields"))
        if isinstance(node, SetField)
    }
    is_interface = type_.kind is Kind.INTERFACE

    def strip(field: FieldDef) -> FieldDef:
        if is_interface:
            return _without(field, "external", "requires", "provides")
        if field.has("external"):
            field = _without(field, "tag")
            if type_.is_extension and field.name in keys:
                field = _without(field, "external")
        return field

    directives = tuple(
        applied
        for applied in type_.directives
        if applied.name != "external" and not (is_interface and applied.name == "key")
    )
    fields = {name: strip(field) for name, field in type_.fields.items()}
    return msgspec.structs.replace(type_, directives=directives, fields=fields, is_extension=False)


def _with_pruned_sets(type_: TypeDef, types: Types) -> TypeDef:
    def prune(field: FieldDef) -> FieldDef:
        field = _pruned(field, "requires", type_.name, types)
        return _pruned(field, "provides", named_type(field.type), types)

    fields = {name: prune(field) for name, field in type_.fields.items()}
    return msgspec.structs.replace(type_, fields=fields)


def _pruned(field: FieldDef, directive: str, on: str, types: Types) -> FieldDef:
    applied = field.get(directive)
    if applied is None:
        return field
    if on not in types:
        return _without(field, directive)
    try:
        nodes = parse_field_set(applied.text("fields"))
    except FieldSetError:
        return field  # validation reports it with its position
    kept = _external_part(nodes, on, types)
    bare = _without(field, directive)
    if not kept:
        return bare
    replaced = Applied(name=directive, arguments={"fields": print_field_set(kept)})
    return msgspec.structs.replace(bare, directives=(*bare.directives, replaced))


def _external_part(nodes: FieldSet, on: str, types: Types) -> FieldSet:
    kept: list[SetNode] = []
    for node in nodes:
        if not isinstance(node, SetField):
            inner = _external_part(node.selection, node.on, types)
            if inner:
                kept.append(msgspec.structs.replace(node, selection=inner))
            continue
        field = types[on].fields.get(node.name) if on in types else None
        if field is None or field.has("external"):
            kept.append(node)
            continue
        inner = _external_part(node.selection, named_type(field.type), types)
        if inner:
            kept.append(msgspec.structs.replace(node, selection=inner))
    return tuple(kept)


def _without_unused(type_: TypeDef, used: Collection[tuple[str, str]]) -> TypeDef:
    fields = {
        name: field
        for name, field in type_.fields.items()
        if not field.has("external") or (type_.name, name) in used
    }
    return msgspec.structs.replace(type_, fields=fields)


def _with_shareable(
    schema: SubgraphSchema, counts: Mapping[tuple[str, str], int]
) -> SubgraphSchema:
    def share(type_: TypeDef, field: FieldDef) -> FieldDef:
        several = counts[type_.name, field.name] > 1
        if not several or field.has("external") or field.has("shareable"):
            return field
        shared = (*field.directives, Applied(name="shareable"))
        return msgspec.structs.replace(field, directives=shared)

    return _map_object_fields(schema, share)


def _map_object_fields(
    schema: SubgraphSchema, change: Callable[[TypeDef, FieldDef], FieldDef]
) -> SubgraphSchema:
    types = {
        name: msgspec.structs.replace(
            type_, fields={n: change(type_, f) for n, f in type_.fields.items()}
        )
        if type_.kind is Kind.OBJECT
        else type_
        for name, type_ in schema.types.items()
    }
    return msgspec.structs.replace(schema, types=types)


def _without(field: FieldDef, *directives: str) -> FieldDef:
    kept = tuple(applied for applied in field.directives if applied.name not in directives)
    return msgspec.structs.replace(field, directives=kept)


def _parsed(text: str) -> FieldSet:
    try:
        return parse_field_set(text)
    except FieldSetError:
        return ()  # validation reports it with its position
