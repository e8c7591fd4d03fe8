"""Field sets: the little selection language of `@key`, `@requires` and `@provides`.

A field set is a tuple of nodes, hashable, so that edges of the plan graph and memo keys can hold it.
Arguments stay GraphQL text in canonical print, because planning only ever compares and copies them.
"""

from __future__ import annotations

import msgspec
from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
    print_ast,
)


class SetField(msgspec.Struct, frozen=True):
    """A field of a set; `arguments` is text such as `currency: "USD"` or empty."""

    name: str
    arguments: str = ""
    selection: tuple[SetNode, ...] = ()


class SetFragment(msgspec.Struct, frozen=True):
    """`... on T { … }` inside a set."""

    on: str
    selection: tuple[SetNode, ...]


SetNode = SetField | SetFragment
FieldSet = tuple[SetNode, ...]


class FieldSetError(ValueError):
    """A field set that doesn't parse, or holds something that a set may not hold."""

    def __init__(self, message: str, *, is_directive: bool) -> None:
        super().__init__(message)
        self.is_directive = is_directive


def parse_field_set(text: str) -> FieldSet:
    """Parse `id name { first }`. Raises: FieldSetError for bad syntax, aliases, spreads, directives."""
    try:
        document = parse("{" + text + "}", no_location=True)
    except GraphQLSyntaxError as error:
        raise FieldSetError(error.message, is_directive=False) from error
    definition = document.definitions[0]
    if len(document.definitions) != 1 or not isinstance(definition, OperationDefinitionNode):
        raise FieldSetError("it is not one selection", is_directive=False)
    nodes = _nodes(definition.selection_set)
    if not nodes:
        raise FieldSetError("it is empty", is_directive=False)
    return nodes


def _nodes(selection_set: SelectionSetNode | None) -> FieldSet:
    if selection_set is None:
        return ()
    nodes: list[SetNode] = []
    for node in selection_set.selections:
        if node.directives:
            raise FieldSetError("it applies a directive", is_directive=True)
        if isinstance(node, FieldNode):
            if node.alias is not None:
                raise FieldSetError(f"it uses the alias {node.alias.value!r}", is_directive=False)
            arguments = ", ".join(sorted(print_ast(a) for a in node.arguments or ()))
            nodes.append(SetField(node.name.value, arguments, _nodes(node.selection_set)))
        elif isinstance(node, InlineFragmentNode) and node.type_condition is not None:
            nodes.append(SetFragment(node.type_condition.name.value, _nodes(node.selection_set)))
        elif isinstance(node, FragmentSpreadNode):
            raise FieldSetError("it spreads a named fragment", is_directive=False)
        elif isinstance(node, InlineFragmentNode):
            nodes.extend(_nodes(node.selection_set))
    return tuple(nodes)


def print_field_set(nodes: FieldSet) -> str:
    """Print a set so that equal sets print alike."""
    return " ".join(_print_node(node) for node in nodes)


def _print_node(node: SetNode) -> str:
    inner = f" {{ {print_field_set(node.selection)} }}" if node.selection else ""
    if isinstance(node, SetFragment):
        return f"... on {node.on}{inner}"
    return f"{node.name}{f'({node.arguments})' if node.arguments else ''}{inner}"
