"""GraphQL's own rules, asked of graphql-core: on a subgraph's schema without directives, and on field sets."""

from __future__ import annotations

from collections.abc import Iterator

from graphql import (
    GraphQLError,
    GraphQLSchema,
    VariableNode,
    Visitor,
    build_schema,
    parse,
    validate,
    validate_schema,
    visit,
)
from graphql.validation import (
    KnownArgumentNamesRule,
    ProvidedRequiredArgumentsRule,
    ValuesOfCorrectTypeRule,
)

from dohost.federation.contract import CompositionError
from dohost.federation.sdl.model import (
    BUILT_IN_SCALARS,
    FieldDef,
    InputDef,
    Kind,
    SubgraphSchema,
    TypeDef,
    named_type,
)

_ARGUMENT_RULES = (KnownArgumentNamesRule, ProvidedRequiredArgumentsRule, ValuesOfCorrectTypeRule)


def read_bare(schema: SubgraphSchema) -> GraphQLSchema | list[CompositionError]:
    """Return a subgraph's schema without directives, or what GraphQL forbids in it."""
    errors = list(_unknown_types(schema))
    if errors:
        return errors
    try:
        bare = build_schema(_bare_sdl(schema))
        messages = [error.message for error in validate_schema(bare)]
    except (GraphQLError, TypeError) as error:
        messages = [str(error)]
    if messages:
        return [
            CompositionError(code="INVALID_GRAPHQL", message=f"[{schema.name}] {message}")
            for message in messages
        ]
    return bare


def argument_errors(schema: GraphQLSchema, *, on: str, field_set: str) -> Iterator[str]:
    """Yield what is wrong with the arguments in a set of fields that exist; it can't have variables."""
    document = parse(f"fragment F on {on} {{ {field_set} }}", no_location=True)
    finder = _Variables()
    visit(document, finder)
    yield from (f"${name} is a variable" for name in finder.names)
    yield from (error.message for error in validate(schema, document, _ARGUMENT_RULES))


class _Variables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self.names.append(node.name.value)


def _unknown_types(schema: SubgraphSchema) -> Iterator[CompositionError]:
    defined = schema.types.keys() | BUILT_IN_SCALARS
    for type_ in schema.types.values():
        for user, name in _uses(type_):
            if name not in defined:
                yield CompositionError(
                    code="INVALID_GRAPHQL",
                    message=f"[{schema.name}] {user}: unknown type {name}",
                    nodes=(type_.position,),
                )


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
