"""`__schema` and `__type`: answered by graphql-core against the API schema, never by a subgraph.

This is the rare path, so it takes the library's executor; its root values are the schema itself and need
no resolver of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    execute_sync,
)

from dohost.federation.execute.document import Document
from dohost.federation.plan.normalize import NormalField


class Introspection(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The part of an operation that asks about the schema, as a document of its own."""

    document: DocumentNode

    @staticmethod
    def of(fields: Iterable[NormalField], document: Document) -> Introspection | None:
        """Cut the introspection out of an operation's root fields; None if there is none."""
        nodes = [
            field.node
            for field in fields
            if field.name in ("__schema", "__type") and isinstance(field.node, FieldNode)
        ]
        if not nodes:
            return None
        operation = OperationDefinitionNode(
            operation=OperationType.QUERY,
            variable_definitions=document.operation.variable_definitions,
            directives=(),
            selection_set=SelectionSetNode(selections=tuple(nodes)),
        )
        return Introspection(
            document=DocumentNode(definitions=(operation, *document.fragments.values()))
        )

    def answer(
        self, schema: GraphQLSchema, variables: Mapping[str, object]
    ) -> Mapping[str, object]:
        """Return the answers by response key."""
        result = execute_sync(schema, self.document, variable_values=dict(variables))
        assert isinstance(result, ExecutionResult)
        return result.data or {}
