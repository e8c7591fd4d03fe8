"""One operation, compiled: everything about it that does not depend on a request.

Conditions on variables are folded in, so one text has as many compiled operations as its clients have
combinations of those booleans; the engine's memo bounds them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dohost.federation.contract import GraphQLError, JsonObject
from dohost.federation.execute.document import Document
from dohost.federation.execute.introspect import Introspection
from dohost.federation.execute.project import NullInNonNull, Projection
from dohost.federation.execute.run import Response
from dohost.federation.execute.variables import Variables
from dohost.federation.plan.normalize import Normalizer
from dohost.federation.plan.plan import Plan
from dohost.federation.plan.planner import Planner
from dohost.federation.supergraph import Supergraph


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A planned operation with its projection."""

    plan: Plan
    projection: Projection
    introspection: Introspection | None
    root_type: str

    def finish(self, response: Response, schema_answers: Mapping[str, object]) -> JsonObject:
        """Return the response body for what the subgraphs answered."""
        response.data.update(schema_answers)
        data, nulls = self.projection.project(response.data)
        body: JsonObject = {"data": data}
        errors = [*response.errors, *_null_errors(nulls, response.errors)]
        if errors:
            body["errors"] = errors
        return body


def _null_errors(nulls: list[NullInNonNull], known: list[GraphQLError]) -> list[GraphQLError]:
    """Report nulls that no subgraph has explained."""
    explained = [tuple(p) for e in known if isinstance(p := e.get("path"), list)]
    errors: list[GraphQLError] = []
    for null in nulls:
        path = tuple(reversed(null.path))
        if not any(path[: len(at)] == at or at[: len(path)] == path for at in explained):
            errors.append({"message": str(null), "path": list(path)})
    return errors


def compile_operation(
    document: Document, conditions: Mapping[str, bool], *, planner: Planner, supergraph: Supergraph
) -> Operation:
    """Plan an operation for given values of its conditions. Raises: Unresolvable."""
    selection = Normalizer(supergraph, document.fragments, conditions).operation(document.operation)
    types = Variables(supergraph, document.operation).types
    fields = selection.by_type.get(selection.on, ())
    return Operation(
        plan=planner.plan(selection, types),
        projection=Projection(supergraph, selection),
        introspection=Introspection.of(fields, document),
        root_type=selection.on,
    )
