"""What a subgraph's federation directives must obey, before anything is merged.

Every subgraph is checked wholly, and every finding carries Apollo's code, so that one run shows all that is
wrong. GraphQL's own rules come first, in `graphql_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from graphql import GraphQLSchema

from dohost.federation.contract import CompositionError
from dohost.federation.sdl.field_set import FieldSet, FieldSetError, SetField, parse_field_set
from dohost.federation.sdl.graphql_rules import argument_errors, read_bare
from dohost.federation.sdl.model import (
    Applied,
    FieldDef,
    Kind,
    SubgraphSchema,
    TypeDef,
    named_type,
)

# Leaving these out would open what they close, so a schema that relies on them is refused.
_UNSUPPORTED = ("authenticated", "requiresScopes", "policy", "context", "fromContext")
_find_label = re.compile(
    r"[A-Za-z][\w\-:./]*|percent\((?:\d{1,2}(?:\.\d{1,8})?|100(?:\.0{1,8})?)\)", re.ASCII
).fullmatch
_COMPOSITE = (Kind.OBJECT, Kind.INTERFACE, Kind.UNION)


def validate_subgraph(schema: SubgraphSchema) -> list[CompositionError]:
    """Return everything that is wrong with one subgraph by itself."""
    bare = read_bare(schema)
    return bare if isinstance(bare, list) else list(_Checks(schema, bare).run())


class _Checks:
    def __init__(self, schema: SubgraphSchema, bare: GraphQLSchema) -> None:
        self._schema = schema
        self._bare = bare
        self._used: set[tuple[str, str]] = set()

    def run(self) -> Iterator[CompositionError]:
        for type_ in self._schema.types.values():
            yield from self._unsupported(type_)
            yield from self._type(type_)
            for field in type_.fields.values():
                yield from self._field(type_, field)
        yield from self._externals()

    def _error(self, code: str, message: str, position: str) -> CompositionError:
        return CompositionError(
            code=code, message=f"[{self._schema.name}] {message}", nodes=(position,)
        )

    def _unsupported(self, type_: TypeDef) -> Iterator[CompositionError]:
        places = [(type_.name, type_.directives, type_.position)]
        for field in type_.fields.values():
            label = f"{type_.name}.{field.name}"
            places.append((label, field.directives, field.position))
            places += [(label, a.directives, field.position) for a in field.arguments.values()]
        for label, directives, position in places:
            for applied in directives:
                if applied.name in _UNSUPPORTED:
                    yield self._error(
                        "UNSUPPORTED_FEATURE", f"{label}: @{applied.name} is not enforced", position
                    )

    def _type(self, type_: TypeDef) -> Iterator[CompositionError]:
        for key in type_.all("key"):
            if type_.kind is Kind.INTERFACE and self._schema.version < (2, 3):
                yield self._error(
                    "KEY_UNSUPPORTED_ON_INTERFACE",
                    f"interface {type_.name} can have a @key from federation v2.3 on",
                    type_.position,
                )
                continue
            yield from self._set("key", key, on=type_.name, position=type_.position)
        if type_.has("interfaceObject") and not type_.has("key"):
            yield self._error(
                "INTERFACE_OBJECT_USAGE_ERROR",
                f"@interfaceObject {type_.name} needs a @key",
                type_.position,
            )
        if type_.kind is Kind.INTERFACE:
            yield from self._interface_keys(type_)

    def _interface_keys(self, interface: TypeDef) -> Iterator[CompositionError]:
        for key in interface.all("key"):
            for other in self._schema.types.values():
                if interface.name in other.interfaces and not any(
                    k.text("fields").split() == key.text("fields").split() for k in other.all("key")
                ):
                    yield self._error(
                        "INTERFACE_KEY_NOT_ON_IMPLEMENTATION",
                        f'{other.name} lacks the key "{key.text("fields")}" of {interface.name}',
                        other.position,
                    )

    def _field(self, type_: TypeDef, field: FieldDef) -> Iterator[CompositionError]:
        label = f"{type_.name}.{field.name}"
        requires, provides = field.get("requires"), field.get("provides")
        if type_.kind is Kind.INTERFACE:
            for name, applied in (("REQUIRES", requires), ("PROVIDES", provides)):
                if applied is not None:
                    yield self._error(
                        f"{name}_UNSUPPORTED_ON_INTERFACE",
                        f"{label} is an interface's",
                        field.position,
                    )
            if field.has("external"):
                yield self._error(
                    "EXTERNAL_ON_INTERFACE", f"{label} is an interface's", field.position
                )
            if field.has("override"):
                yield self._error(
                    "OVERRIDE_ON_INTERFACE", f"{label} is an interface's", field.position
                )
            if field.has("shareable"):
                yield self._error(
                    "INVALID_SHAREABLE_USAGE", f"{label} is an interface's", field.position
                )
            return
        if requires is not None:
            yield from self._set("requires", requires, on=type_.name, position=field.position)
        if provides is not None:
            target = self._schema.types.get(named_type(field.type))
            if target is None or target.kind not in _COMPOSITE:
                yield self._error(
                    "PROVIDES_ON_NON_OBJECT_FIELD",
                    f"{label} has no fields to provide",
                    field.position,
                )
            else:
                yield from self._set("provides", provides, on=target.name, position=field.position)
        override = field.get("override")
        if override is not None and not _is_label(override.arguments.get("label")):
            yield self._error(
                "OVERRIDE_LABEL_INVALID",
                f'{label}: a label is a name, or "percent(x)" with x from 0 to 100',
                field.position,
            )
        yield from self._collisions(label, field)

    def _collisions(self, label: str, field: FieldDef) -> Iterator[CompositionError]:
        if field.has("external"):
            for name, code in (
                ("override", "OVERRIDE_COLLISION_WITH_ANOTHER_DIRECTIVE"),
                ("requires", "EXTERNAL_COLLISION_WITH_ANOTHER_DIRECTIVE"),
                ("provides", "EXTERNAL_COLLISION_WITH_ANOTHER_DIRECTIVE"),
                ("tag", "MERGED_DIRECTIVE_APPLICATION_ON_EXTERNAL"),
                ("inaccessible", "MERGED_DIRECTIVE_APPLICATION_ON_EXTERNAL"),
            ):
                if field.has(name):
                    yield self._error(code, f"{label} is @external and has @{name}", field.position)
        if sum(a.name == "shareable" for a in field.directives) > 1:
            yield self._error(
                "INVALID_SHAREABLE_USAGE", f"{label} is @shareable twice", field.position
            )

    def _set(
        self, directive: str, applied: Applied, *, on: str, position: str
    ) -> Iterator[CompositionError]:
        code, label = directive.upper(), f"@{directive} on {on}"
        if not isinstance(applied.arguments.get("fields"), str):
            yield self._error(
                f"{code}_INVALID_FIELDS_TYPE", f"{label}: fields is no string", position
            )
            return
        try:
            nodes = parse_field_set(applied.text("fields"))
        except FieldSetError as error:
            kind = "DIRECTIVE_IN_FIELDS_ARG" if error.is_directive else "INVALID_FIELDS"
            yield self._error(f"{code}_{kind}", f"{label}: {error}", position)
            return
        found = list(self._nodes(directive, nodes, on=on))
        if not found and directive == "requires":
            told = argument_errors(self._bare, on=on, field_set=applied.text("fields"))
            found += [(f"{code}_INVALID_FIELDS", message) for message in told]
        yield from (self._error(c, f"{label}: {message}", position) for c, message in found)
        if not found and directive != "key" and not self._leads_to_external(nodes, on):
            yield self._error(
                f"{code}_FIELDS_MISSING_EXTERNAL",
                f'{label}: "{applied.text("fields")}" has no @external field',
                position,
            )

    def _nodes(self, directive: str, nodes: FieldSet, *, on: str) -> Iterator[tuple[str, str]]:
        code = directive.upper()
        type_ = self._schema.types.get(on)
        for node in nodes:
            if not isinstance(node, SetField):
                if node.on not in self._schema.types:
                    yield f"{code}_INVALID_FIELDS", f"unknown type {node.on}"
                else:
                    yield from self._nodes(directive, node.selection, on=node.on)
                continue
            if node.name == "__typename":
                continue
            field = None if type_ is None else type_.fields.get(node.name)
            if field is None:
                yield f"{code}_INVALID_FIELDS", f"{on} has no field {node.name}"
                continue
            self._mark(on, node.name)
            yield from self._node(directive, node, field)

    def _node(self, directive: str, node: SetField, field: FieldDef) -> Iterator[tuple[str, str]]:
        code = directive.upper()
        target = self._schema.types.get(named_type(field.type))
        composite = target is not None and target.kind in _COMPOSITE
        if directive in ("key", "provides") and field.arguments:
            yield f"{code}_FIELDS_HAS_ARGS", f"{node.name} has arguments"
        if (
            directive == "key"
            and target is not None
            and target.kind in (Kind.INTERFACE, Kind.UNION)
        ):
            yield "KEY_FIELDS_SELECT_INVALID_TYPE", f"{node.name} is an {target.kind}"
        elif composite and not node.selection:
            yield f"{code}_INVALID_FIELDS", f"{node.name} needs a selection"
        elif node.selection and not composite:
            yield f"{code}_INVALID_FIELDS", f"{node.name} has no fields"
        elif target is not None:
            yield from self._nodes(directive, node.selection, on=target.name)

    def _mark(self, on: str, field: str) -> None:
        self._used.add((on, field))
        for other in self._schema.types.values():
            if on in other.interfaces:
                self._used.add((other.name, field))

    def _leads_to_external(self, nodes: FieldSet, on: str) -> bool:
        """Tell whether every branch of a set has something external on its way."""
        type_ = self._schema.types[on]
        for node in nodes:
            if not isinstance(node, SetField):
                if not self._leads_to_external(node.selection, node.on):
                    return False
                continue
            field = type_.fields.get(node.name)
            if field is None or field.has("external") or type_.has("external"):
                continue
            if self._implemented_externally(on, node.name):
                continue
            if not node.selection or not self._leads_to_external(
                node.selection, named_type(field.type)
            ):
                return False
        return True

    def _implemented_externally(self, interface: str, field: str) -> bool:
        types = self._schema.types.values()
        return any(
            interface in t.interfaces and field in t.fields and t.fields[field].has("external")
            for t in types
        )

    def _externals(self) -> Iterator[CompositionError]:
        for type_ in self._schema.types.values():
            for field in type_.fields.values():
                if not field.has("external") or (type_.name, field.name) in self._used:
                    continue
                if any(
                    field.name in self._schema.types[interface].fields
                    for interface in type_.interfaces
                    if interface in self._schema.types
                ):
                    continue
                yield self._error(
                    "EXTERNAL_UNUSED",
                    f"{type_.name}.{field.name} is @external, but no field set or interface uses it",
                    field.position,
                )


def _is_label(label: object) -> bool:
    return label is None or (isinstance(label, str) and _find_label(label) is not None)
