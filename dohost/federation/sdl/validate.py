"""What a subgraph's federation directives must obey, before anything is merged.

Every subgraph is checked wholly, and every finding carries Apollo's code, so that one run shows all that is
wrong. GraphQL's own rules are checked by graphql-core on the schema without directives.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphql import GraphQLError, build_schema

from dohost.federation.contract import CompositionError
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

# Leaving these out would open what they close, so a schema that relies on them is refused.
_UNSUPPORTED = ("authenticated", "requiresScopes", "policy", "context", "fromContext")
_COMPOSITE = (Kind.OBJECT, Kind.INTERFACE, Kind.UNION)


def validate_subgraph(schema: SubgraphSchema) -> list[CompositionError]:
    """Return everything that is wrong with one subgraph by itself."""
    errors = list(_graphql_errors(schema))
    return errors or list(_Checks(schema).run())


def _graphql_errors(schema: SubgraphSchema) -> Iterator[CompositionError]:
    defined = schema.types.keys() | BUILT_IN_SCALARS
    unknown = False
    for type_ in schema.types.values():
        for user, name in _uses(type_):
            if name not in defined:
                unknown = True
                yield CompositionError(
                    code="INVALID_GRAPHQL",
                    message=f"[{schema.name}] {user}: unknown type {name}",
                    nodes=(type_.position,),
                )
    if unknown:
        return
    try:
        build_schema(_bare_sdl(schema))
    except (GraphQLError, TypeError) as error:
        yield CompositionError(code="INVALID_GRAPHQL", message=f"[{schema.name}] {error}")


def _uses(type_: TypeDef) -> Iterator[tuple[str, str]]:
    for field in type_.fields.values():
        yield f"{type_.name}.{field.name}", named_type(field.type)
        for argument in field.arguments.values():
            yield f"{type_.name}.{field.name}({argument.name})", named_type(argument.type)
    for value in type_.inputs.values():
        yield f"{type_.name}.{value.name}", named_type(value.type)
    for name in (*type_.interfaces, *type_.members):
        yield type_.name, name


def _bare_sdl(schema: SubgraphSchema) -> str:
    parts = [_bare(type_) for type_ in schema.types.values()]
    if "Query" not in schema.types:
        parts.append("type Query { _: Int }")
    return "\n".join(parts)


def _bare(type_: TypeDef) -> str:
    head = f"{type_.kind} {type_.name}"
    if type_.interfaces:
        head += f" implements {' & '.join(type_.interfaces)}"
    if type_.kind is Kind.SCALAR:
        return head
    if type_.kind is Kind.UNION:
        return f"{head} = {' | '.join(type_.members)}" if type_.members else head
    if type_.kind is Kind.ENUM:
        return f"{head} {{ {' '.join(type_.values)} }}"
    if type_.kind is Kind.INPUT:
        return f"{head} {{ {' '.join(_bare_input(i) for i in type_.inputs.values())} }}"
    fields = " ".join(_bare_field(field) for field in type_.fields.values())
    return f"{head} {{ {fields} }}" if fields else head


def _bare_field(field: FieldDef) -> str:
    arguments = ", ".join(_bare_input(argument) for argument in field.arguments.values())
    return f"{field.name}{f'({arguments})' if arguments else ''}: {field.type}"


def _bare_input(definition: InputDef) -> str:
    default = f" = {definition.default}" if definition.default is not None else ""
    return f"{definition.name}: {definition.type}{default}"


class _Checks:
    def __init__(self, schema: SubgraphSchema) -> None:
        self._schema = schema
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
