"""Reading a supergraph's SDL (join specification 0.3 and later), ours or another composer's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from graphql import (
    ConstDirectiveNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    EnumValueDefinitionNode,
    FieldDefinitionNode,
    GraphQLError,
    InputObjectTypeDefinitionNode,
    InputValueDefinitionNode,
    Node,
    SchemaDefinitionNode,
    TypeDefinitionNode,
    parse,
    print_ast,
    value_from_ast_untyped,
)

from dohost.errors import CallerError
from dohost.federation.sdl.model import Applied, EnumValueDef, InputDef, Kind
from dohost.federation.supergraph import (
    FieldJoin,
    Graph,
    Key,
    SuperField,
    Supergraph,
    SuperInput,
    SuperType,
    SuperValue,
    TypeJoin,
)

_KINDS = {
    "scalar_type_definition": Kind.SCALAR,
    "object_type_definition": Kind.OBJECT,
    "interface_type_definition": Kind.INTERFACE,
    "union_type_definition": Kind.UNION,
    "enum_type_definition": Kind.ENUM,
    "input_object_type_definition": Kind.INPUT,
}
_KNOWN_FEATURES = ("link", "join", "tag", "inaccessible", "core")
Arguments = Mapping[str, object]


def read_supergraph(sdl: str) -> Supergraph:
    """Read a supergraph. Raises: CallerError if the text is none, or needs an unknown feature."""
    try:
        document = parse(sdl, no_location=True)
    except GraphQLError as error:
        raise CallerError(f"the supergraph does not parse: {error.message}") from error
    _check_features(document)
    definitions = [n for n in document.definitions if isinstance(n, TypeDefinitionNode)]
    graphs = {graph.id: graph for n in definitions for graph in _graphs(n)}
    if not graphs:
        raise CallerError("the document is no supergraph: it has no enum join__Graph")
    types = {
        node.name.value: _type(node)
        for node in definitions
        if not node.name.value.startswith(("join__", "link__", "core__"))
    }
    return Supergraph(graphs=graphs, types=types)


def _check_features(document: DocumentNode) -> None:
    for node in document.definitions:
        if not isinstance(node, SchemaDefinitionNode):
            continue
        for link in _applied(node, "link"):
            url = str(link.get("url", ""))
            name = url.rstrip("/").split("/")[-2] if url.count("/") >= 2 else url
            if link.get("for") and name not in _KNOWN_FEATURES:
                raise CallerError(f"UNSUPPORTED_LINKED_FEATURE: the supergraph needs {url}")


def _graphs(node: TypeDefinitionNode) -> Iterable[Graph]:
    if isinstance(node, EnumTypeDefinitionNode) and node.name.value == "join__Graph":
        for value in node.values or ():
            for graph in _applied(value, "join__graph"):
                yield Graph(
                    id=value.name.value, name=str(graph["name"]), url=str(graph.get("url", ""))
                )


def _applied(node: Node, name: str) -> list[Arguments]:
    directives: Iterable[ConstDirectiveNode] = getattr(node, "directives", None) or ()
    return [_arguments(d) for d in directives if d.name.value == name]


def _arguments(directive: ConstDirectiveNode) -> Arguments:
    return {a.name.value: value_from_ast_untyped(a.value) for a in directive.arguments or ()}


def _others(node: Node) -> tuple[Applied, ...]:
    directives: Iterable[ConstDirectiveNode] = getattr(node, "directives", None) or ()
    return tuple(
        Applied(name=d.name.value, arguments=_arguments(d))
        for d in directives
        if not d.name.value.startswith("join__")
    )


def _type(node: TypeDefinitionNode) -> SuperType:
    kind = _KINDS[node.kind]
    joins = _type_joins(node)
    children = getattr(node, "fields", None) or ()
    is_input = isinstance(node, InputObjectTypeDefinitionNode)
    return SuperType(
        name=node.name.value,
        kind=kind,
        joins=joins,
        fields={} if is_input else {c.name.value: _field(c, joins) for c in children},
        inputs={c.name.value: _input(c, joins) for c in children} if is_input else {},
        values=_values(node),
        interfaces=_names(node, "join__implements", "interface"),
        members=_names(node, "join__unionMember", "member"),
        directives=_others(node),
        description=_description(node),
    )


def _type_joins(node: TypeDefinitionNode) -> Mapping[str, TypeJoin]:
    joins: dict[str, TypeJoin] = {}
    for applied in _applied(node, "join__type"):
        graph = str(applied["graph"])
        known = joins.get(graph) or TypeJoin(graph=graph)
        keys = known.keys
        if "key" in applied:
            resolvable = applied.get("resolvable") is not False
            keys = (*keys, Key(fields=str(applied["key"]), is_resolvable=resolvable))
        joins[graph] = msgspec.structs.replace(
            known, keys=keys, is_interface_object=applied.get("isInterfaceObject") is True
        )
    return joins


def _names(
    node: TypeDefinitionNode, directive: str, argument: str
) -> Mapping[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for applied in _applied(node, directive):
        name = str(applied[argument])
        names[name] = (*names.get(name, ()), str(applied["graph"]))
    return names


def _field(node: FieldDefinitionNode, owners: Mapping[str, TypeJoin]) -> SuperField:
    applied = _applied(node, "join__field")
    joins = {str(a["graph"]): _field_join(a) for a in applied if "graph" in a}
    if not applied:
        joins = {graph: FieldJoin(graph=graph) for graph in owners}
    return SuperField(
        name=node.name.value,
        type=print_ast(node.type),
        arguments={a.name.value: _definition(a) for a in node.arguments or ()},
        joins=joins,
        directives=_others(node),
        description=_description(node),
    )


def _field_join(applied: Arguments) -> FieldJoin:
    def text(name: str) -> str | None:
        value = applied.get(name)
        return value if isinstance(value, str) else None

    return FieldJoin(
        graph=str(applied["graph"]),
        type=text("type"),
        external=applied.get("external") is True,
        requires=text("requires"),
        provides=text("provides"),
        override=text("override"),
        used_overridden=applied.get("usedOverridden") is True,
        override_label=text("overrideLabel"),
    )


def _input(node: InputValueDefinitionNode, owners: Mapping[str, TypeJoin]) -> SuperInput:
    return SuperInput(definition=_definition(node), graphs=tuple(owners))


def _definition(node: InputValueDefinitionNode) -> InputDef:
    return InputDef(
        name=node.name.value,
        type=print_ast(node.type),
        default=None if node.default_value is None else print_ast(node.default_value),
        directives=_others(node),
        description=_description(node),
    )


def _values(node: TypeDefinitionNode) -> Mapping[str, SuperValue]:
    if not isinstance(node, EnumTypeDefinitionNode):
        return {}
    return {value.name.value: _value(value) for value in node.values or ()}


def _value(node: EnumValueDefinitionNode) -> SuperValue:
    definition = EnumValueDef(
        name=node.name.value, directives=_others(node), description=_description(node)
    )
    graphs = tuple(str(a["graph"]) for a in _applied(node, "join__enumValue"))
    return SuperValue(definition=definition, graphs=graphs)


def _description(node: Node) -> str | None:
    found = getattr(node, "description", None)
    return None if found is None else str(found.value)
