"""The client's document: limits, parsing, validation and choice of the operation.

The token limit holds while parsing; the other limits are counted before validation, since validation is
where a hostile document costs most. Fragment cycles are refused before anything follows a fragment.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    parse,
    specified_rules,
    validate,
)

from dohost.federation.contract import GraphQLError as ErrorObject
from dohost.federation.contract import GraphQLLimits
from dohost.federation.plan.normalize import condition_value


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A valid document with one operation chosen."""

    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    condition_variables: tuple[str, ...]


class RequestRefused(Exception):
    """The request can't be executed; `errors` go to the client and nothing was run."""

    def __init__(self, errors: list[ErrorObject]) -> None:
        super().__init__("; ".join(str(error["message"]) for error in errors))
        self.errors = errors


def refuse(code: str, message: str) -> RequestRefused:
    """Return the refusal of a request for one reason."""
    return RequestRefused([{"message": message, "extensions": {"code": code}}])


def read_document(
    text: str, operation_name: str | None, *, schema: GraphQLSchema, limits: GraphQLLimits
) -> Document:
    """Parse, limit and validate a document. Raises: RequestRefused."""
    try:
        document = parse(text, max_tokens=limits.tokens_max)
    except GraphQLSyntaxError as error:
        if "more than" in error.message and "tokens" in error.message:
            raise refuse("TOKEN_LIMIT_EXCEEDED", error.message) from error
        raise RequestRefused([error_object(error, "GRAPHQL_PARSE_FAILED")]) from error
    except RecursionError as error:
        raise refuse("DEPTH_LIMIT_EXCEEDED", "the document nests too deeply to parse") from error
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    operations = [n for n in document.definitions if isinstance(n, OperationDefinitionNode)]
    for operation in operations:
        _Measure(fragments, limits).check(operation)
    extra = () if limits.allows_introspection else (NoSchemaIntrospectionCustomRule,)
    errors = validate(schema, document, (*specified_rules, *extra))
    if errors:
        raise RequestRefused([error_object(e, "GRAPHQL_VALIDATION_FAILED") for e in errors])
    operation = _chosen(operations, operation_name)
    return Document(
        operation=operation,
        fragments=fragments,
        condition_variables=_condition_variables(operation, fragments),
    )


def error_object(error: GraphQLError, code: str) -> ErrorObject:
    """Return graphql-core's error as it goes to the client."""
    shown: ErrorObject = {"message": error.message, "extensions": {"code": code}}
    if error.locations:
        shown["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    return shown


def _chosen(operations: list[OperationDefinitionNode], name: str | None) -> OperationDefinitionNode:
    if name is None:
        if len(operations) == 1:
            return operations[0]
        raise refuse(
            "OPERATION_RESOLUTION_FAILURE",
            "the document has no operation"
            if not operations
            else "the document has several operations: say which with operationName",
        )
    for operation in operations:
        if operation.name is not None and operation.name.value == name:
            return operation
    raise refuse("OPERATION_RESOLUTION_FAILURE", f"the document has no operation named {name!r}")


class _Measure:
    """Counts what the limits bound, fragments followed, and stops at the first excess."""

    def __init__(
        self, fragments: Mapping[str, FragmentDefinitionNode], limits: GraphQLLimits
    ) -> None:
        self._fragments = fragments
        self._limits = limits
        self._aliases = 0
        self._directives = 0
        self._fields = 0
        self._open: list[str] = []

    def check(self, operation: OperationDefinitionNode) -> None:
        self._directives += len(operation.directives or ())
        roots = self._selection(operation.selection_set, depth=1)
        if roots > self._limits.root_fields_max:
            raise refuse(
                "ROOT_FIELD_LIMIT_EXCEEDED", f"more than {self._limits.root_fields_max} root fields"
            )

    def _selection(self, selection: SelectionSetNode, *, depth: int) -> int:
        if depth > self._limits.depth_max:
            raise refuse("DEPTH_LIMIT_EXCEEDED", f"deeper than {self._limits.depth_max} levels")
        if not selection.selections:
            # graphql-core's grammar takes `{}`; the specification's does not.
            error = GraphQLError("Syntax Error: A selection is empty.", selection)
            raise RequestRefused([error_object(error, "GRAPHQL_PARSE_FAILED")])
        fields = 0
        for node in selection.selections:
            self._count(node)
            if isinstance(node, FieldNode):
                fields += 1
                if node.selection_set is not None:
                    self._selection(node.selection_set, depth=depth + 1)
            elif isinstance(node, FragmentSpreadNode):
                fields += self._spread(node.name.value, depth=depth)
            else:
                fields += self._selection(node.selection_set, depth=depth)  # type: ignore[attr-defined]  # only inline fragments are left
        return fields

    def _spread(self, name: str, *, depth: int) -> int:
        fragment = self._fragments.get(name)
        if fragment is None:
            return 0  # validation names the unknown fragment
        if name in self._open:
            raise refuse("GRAPHQL_VALIDATION_FAILED", f"fragment {name} spreads itself")
        self._open.append(name)
        fields = self._selection(fragment.selection_set, depth=depth)
        self._open.pop()
        return fields

    def _count(self, node: object) -> None:
        self._fields += 1
        self._directives += len(getattr(node, "directives", None) or ())
        self._aliases += isinstance(node, FieldNode) and node.alias is not None
        if self._fields > self._limits.tokens_max:
            raise refuse("TOKEN_LIMIT_EXCEEDED", "the document is too large with its fragments")
        if self._aliases > self._limits.aliases_max:
            raise refuse("ALIAS_LIMIT_EXCEEDED", f"more than {self._limits.aliases_max} aliases")
        if self._directives > self._limits.directives_max:
            raise refuse(
                "DIRECTIVE_LIMIT_EXCEEDED", f"more than {self._limits.directives_max} directives"
            )


def _condition_variables(
    operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> tuple[str, ...]:
    names: dict[str, None] = {}
    pending = [operation.selection_set, *(f.selection_set for f in fragments.values())]
    while pending:
        for node in pending.pop().selections:
            for directive in node.directives or ():
                if directive.name.value in ("skip", "include"):
                    value = condition_value(directive)
                    if isinstance(value, VariableNode):
                        names[value.name.value] = None
            inner = getattr(node, "selection_set", None)
            if inner is not None:
                pending.append(inner)
    return tuple(names)
