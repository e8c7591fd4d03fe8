"""SDL text to `SubgraphSchema`.

Definitions and extensions of one type are joined here, root types get their standard names, and the
machinery that a subgraph library adds to its SDL (`_entities`, `_service`, link scalars) is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from graphql import (
    ConstDirectiveNode,
    DirectiveDefinitionNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    EnumTypeExtensionNode,
    ExecutableDefinitionNode,
    FieldDefinitionNode,
    GraphQLError,
    InputValueDefinitionNode,
    Node,
    SchemaDefinitionNode,
    SchemaExtensionNode,
    StringValueNode,
    TypeDefinitionNode,
    TypeExtensionNode,
    parse,
    print_ast,
    value_from_ast_untyped,
)
from graphql.utilities.sort_value_node import sort_value_node

from dohost.federation.contract import CompositionError, Subgraph
from dohost.federation.sdl.applications import application_errors
from dohost.federation.sdl.directive_definitions import definition_problems
from dohost.federation.sdl.link import LinkError, Links, read_links
from dohost.federation.sdl.model import (
    Applied,
    EnumValueDef,
    FieldDef,
    InputDef,
    Kind,
    SubgraphSchema,
    TypeDef,
    named_type,
)

_MACHINERY_TYPES = frozenset({"_Any", "_Entity", "_Service", "_FieldSet", "FieldSet"})
_MACHINERY_FIELDS = frozenset({"_entities", "_service"})
_GRAPHQL_DIRECTIVES = frozenset({"deprecated", "specifiedBy", "oneOf", "link", "core"})
_KIND = re.compile("(_type)?_(definition|extension)$")
_KINDS = {
    "scalar": Kind.SCALAR,
    "object": Kind.OBJECT,
    "interface": Kind.INTERFACE,
    "union": Kind.UNION,
    "enum": Kind.ENUM,
    "input_object": Kind.INPUT,
}

TypeNode = TypeDefinitionNode | TypeExtensionNode


def parse_subgraph(subgraph: Subgraph) -> SubgraphSchema | list[CompositionError]:
    """Parse one subgraph's SDL, or tell why it can't be read."""
    if subgraph.name == "_" or not subgraph.name:
        return [_error("INVALID_SUBGRAPH_NAME", subgraph.name, "this name is reserved")]
    try:
        document = parse(subgraph.sdl)
    except GraphQLError as error:
        where = tuple(f"{subgraph.name}:{a.line}:{a.column}" for a in error.locations or ())
        return [_error("INVALID_GRAPHQL", subgraph.name, error.message, where)]
    links = read_links(_schema_directives(document))
    if isinstance(links, LinkError):
        return [_error(links.code, subgraph.name, links.message)]
    return _Reader(subgraph, document, links).read()


def _error(code: str, subgraph: str, message: str, nodes: tuple[str, ...] = ()) -> CompositionError:
    return CompositionError(code=code, message=f"[{subgraph}] {message}", nodes=nodes)


def _schema_directives(document: DocumentNode) -> Iterable[ConstDirectiveNode]:
    for node in document.definitions:
        if isinstance(node, SchemaDefinitionNode | SchemaExtensionNode):
            yield from node.directives or ()


class _Reader:
    """Reads one document; holds what every part of the reading needs."""

    def __init__(self, subgraph: Subgraph, document: DocumentNode, links: Links) -> None:
        self._subgraph = subgraph
        self._document = document
        self._links = links
        self._errors: list[CompositionError] = []
        self._roots = self._root_names()
        self._defined = {
            node.name.value
            for node in document.definitions
            if isinstance(node, DirectiveDefinitionNode)
        }

    def read(self) -> SubgraphSchema | list[CompositionError]:
        types: dict[str, TypeDef] = {}
        for node in self._document.definitions:
            if isinstance(node, TypeDefinitionNode | TypeExtensionNode):
                self._add(types, node)
            elif isinstance(node, DirectiveDefinitionNode):
                name = self._links.canonical(node.name.value)
                for problem in definition_problems(name or "", node):
                    message = f"definition of @{node.name.value}: {problem}"
                    self._fail("DIRECTIVE_DEFINITION_INVALID", message, node)
            elif isinstance(node, ExecutableDefinitionNode):
                self._fail("INVALID_GRAPHQL", "a schema holds no operation and no fragment", node)
        types.pop("_", None)
        if self._errors:
            return self._errors
        for error in application_errors(self._document, self._links):
            self._fail("INVALID_GRAPHQL", error.message, (error.nodes or [self._document])[0])
        if self._errors:
            return self._errors
        kept = {name: t for name, t in types.items() if not self._is_empty_root(t)}
        return SubgraphSchema(
            name=self._subgraph.name,
            url=self._subgraph.url,
            types=kept,
            is_federation_1=self._links.version is None,
            version=self._links.version or (2, 4),
            root_fields_apart=self._subgraph.root_fields_apart,
            imports={canonical: local for local, canonical in self._links.directives.items()},
        )

    def _is_empty_root(self, type_: TypeDef) -> bool:
        return type_.name in ("Query", "Mutation", "Subscription") and not type_.fields

    def _root_names(self) -> Mapping[str, str]:
        names: dict[str, str] = {}
        for node in self._document.definitions:
            if isinstance(node, SchemaDefinitionNode | SchemaExtensionNode):
                for operation in node.operation_types or ():
                    standard = operation.operation.value.capitalize()
                    names[operation.type.name.value] = standard
        return names

    def _add(self, types: dict[str, TypeDef], node: TypeNode) -> None:
        written = node.name.value
        if written in _MACHINERY_TYPES or written.startswith(("link__", self._links.prefix)):
            return
        name = self._roots.get(written, written)
        if name != written or name in self._roots.values():
            clash = [local for local, root in self._roots.items() if root == name]
            if name == written and written not in clash:
                self._fail(
                    f"ROOT_{name.upper()}_USED", f"type {name} exists beside root {clash[0]}", node
                )
                return
        read = self._type(node, name)
        known = types.get(name)
        if known is None:
            types[name] = read
        elif known.kind is not read.kind:
            self._fail("INVALID_GRAPHQL", f"{name} is both {known.kind} and {read.kind}", node)
        elif not (known.is_extension or read.is_extension):
            self._fail("INVALID_GRAPHQL", f"there can be only one type named {name}", node)
        else:
            types[name] = self._joined(known, read, node)

    def _joined(self, known: TypeDef, more: TypeDef, node: TypeNode) -> TypeDef:
        for attribute in ("fields", "inputs", "values"):
            for name in getattr(known, attribute).keys() & getattr(more, attribute).keys():
                self._fail("INVALID_GRAPHQL", f"{known.name}.{name} is defined twice", node)
        return msgspec.structs.replace(
            known,
            fields={**known.fields, **more.fields},
            inputs={**known.inputs, **more.inputs},
            values={**known.values, **more.values},
            interfaces=tuple(dict.fromkeys(known.interfaces + more.interfaces)),
            members=tuple(dict.fromkeys(known.members + more.members)),
            directives=known.directives + more.directives,
            description=known.description or more.description,
            is_extension=known.is_extension and more.is_extension,
        )

    def _type(self, node: TypeNode, name: str) -> TypeDef:
        kind = _KINDS[_KIND.sub("", node.kind)]
        is_extension = isinstance(node, TypeExtensionNode)
        directives = self._directives(node.directives or ())
        extends = is_extension or any(a.name == "extends" for a in directives)
        shared = tuple(a for a in directives if a.name == "shareable")[:1]
        fields: dict[str, FieldDef] = {}
        if kind in (Kind.OBJECT, Kind.INTERFACE):
            for child in getattr(node, "fields", None) or ():
                if child.name.value not in _MACHINERY_FIELDS:
                    if child.name.value in fields:
                        self._fail(
                            "INVALID_GRAPHQL", f"{name}.{child.name.value} is defined twice", child
                        )
                    field = self._field(child, in_extension=extends)
                    if shared and not field.has("shareable"):
                        field = msgspec.structs.replace(
                            field, directives=(*field.directives, *shared)
                        )
                    fields[field.name] = field
        return TypeDef(
            name=name,
            kind=kind,
            fields=fields,
            inputs=self._inputs(getattr(node, "fields", None) or ()) if kind is Kind.INPUT else {},
            values=self._values(node),
            interfaces=self._distinct(node, "interfaces"),
            members=self._distinct(node, "types"),
            directives=tuple(a for a in directives if a.name != "extends"),
            description=_description(node),
            position=self._position(node),
            is_extension=is_extension or (extends and self._links.version is None),
        )

    def _values(self, node: TypeNode) -> Mapping[str, EnumValueDef]:
        if not isinstance(node, EnumTypeDefinitionNode | EnumTypeExtensionNode):
            return {}
        return {
            value.name.value: EnumValueDef(
                name=value.name.value,
                directives=self._directives(value.directives or ()),
                description=_description(value),
            )
            for value in node.values or ()
        }

    def _distinct(self, node: TypeNode, attribute: str) -> tuple[str, ...]:
        """Return the types that one declaration lists: its interfaces, or a union's members."""
        names = [named.name.value for named in getattr(node, attribute, None) or ()]
        for name, count in Counter(names).items():
            if count > 1:
                self._fail("INVALID_GRAPHQL", f"{node.name.value} lists {name} twice", node)
        return tuple(names)

    def _field(self, node: FieldDefinitionNode, *, in_extension: bool) -> FieldDef:
        return FieldDef(
            name=node.name.value,
            type=self._renamed(print_ast(node.type)),
            arguments=self._inputs(node.arguments or ()),
            directives=self._directives(node.directives or ()),
            description=_description(node),
            position=self._position(node),
            in_extension=in_extension,
        )

    def _renamed(self, type_text: str) -> str:
        name = named_type(type_text)
        return type_text.replace(name, self._roots[name]) if name in self._roots else type_text

    def _inputs(self, nodes: Sequence[InputValueDefinitionNode]) -> Mapping[str, InputDef]:
        return {
            node.name.value: InputDef(
                name=node.name.value,
                type=print_ast(node.type),
                default=_default(node),
                directives=self._directives(node.directives or ()),
                description=_description(node),
            )
            for node in nodes
        }

    def _directives(self, nodes: Sequence[ConstDirectiveNode]) -> tuple[Applied, ...]:
        applied: list[Applied] = []
        for node in nodes:
            local = node.name.value
            name = self._links.canonical(local)
            if name is None and local not in _GRAPHQL_DIRECTIVES:
                foreign = (
                    local in self._links.foreign or local.partition("__")[0] in self._links.foreign
                )
                if not foreign and local not in self._defined:
                    self._fail("INVALID_GRAPHQL", f"unknown directive @{local}", node)
                continue
            arguments = {
                a.name.value: value_from_ast_untyped(a.value) for a in node.arguments or ()
            }
            if self._links.version is None:
                arguments = {n: _one_text(value) for n, value in arguments.items()}
            applied.append(Applied(name=name or local, arguments=arguments))
        return tuple(applied)

    def _fail(self, code: str, message: str, node: Node) -> None:
        where = (self._position(node),)
        self._errors.append(_error(code, self._subgraph.name, message, where))

    def _position(self, node: Node) -> str:
        if node.loc is None:
            return self._subgraph.name
        token = node.loc.start_token
        return f"{self._subgraph.name}:{token.line}:{token.column}"


def _default(node: InputValueDefinitionNode) -> str | None:
    """Return a default as text; the fields of an object are in order, so that equal ones print alike."""
    value = node.default_value
    return None if value is None else print_ast(sort_value_node(value))


def _one_text(value: object) -> object:
    """Return a list of strings as one: Federation 1 takes `fields: ["id", "name"]` for "id name"."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return " ".join(value)
    return value


def _description(node: Node) -> str | None:
    text = getattr(node, "description", None)
    return text.value if isinstance(text, StringValueNode) else None
