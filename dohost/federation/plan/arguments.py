"""Arguments of fields: parsed once with the plan, evaluated with each request's variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphql import (
    FieldNode,
    ListValueNode,
    ObjectFieldNode,
    ObjectValueNode,
    OperationDefinitionNode,
    ValueNode,
    VariableNode,
    parse,
    value_from_ast_untyped,
)


def parse_arguments(text: str) -> Mapping[str, ValueNode]:
    """Parse the arguments of one field, as the plan prints them."""
    if not text:
        return {}
    definition = parse(f"{{ f({text}) }}", no_location=True).definitions[0]
    assert isinstance(definition, OperationDefinitionNode)
    field = definition.selection_set.selections[0]
    assert isinstance(field, FieldNode)
    return {argument.name.value: argument.value for argument in field.arguments or ()}


def argument_values(
    arguments: Mapping[str, ValueNode], variables: Mapping[str, object]
) -> dict[str, object]:
    """Return argument values; an argument whose variable has no value is left out."""
    return {
        name: value_of(node, variables)
        for name, node in arguments.items()
        if not isinstance(node, VariableNode) or node.name.value in variables
    }


def value_of(node: ValueNode, variables: Mapping[str, object]) -> object:
    """Return the value of a literal with its variables filled in."""
    if isinstance(node, VariableNode):
        return variables.get(node.name.value)
    if isinstance(node, ListValueNode):
        return [value_of(item, variables) for item in node.values]
    if isinstance(node, ObjectValueNode):
        return {
            field.name.value: value_of(field.value, variables) for field in _given(node, variables)
        }
    return value_from_ast_untyped(node)


def _given(node: ObjectValueNode, variables: Mapping[str, object]) -> Iterable[ObjectFieldNode]:
    for field in node.fields:
        if not isinstance(field.value, VariableNode) or field.value.name.value in variables:
            yield field
