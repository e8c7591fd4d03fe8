"""The federation engine: one supergraph, ready to execute operations against its subgraphs.

An engine is immutable; what it works out of a document goes into memos that the whole process shares, keyed
by all that it depends on (the supergraph by hash, limits, text), so that engines composed anew from the same
schemas find it. It does no I/O: subgraphs are reached through the caller that
`execute` is given. Order of an execution: compiled operation from the memo (parse, limits, validation,
plan on the first use), variables, introspection, waves of fetches, projection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from graphql import GraphQLSchema, build_schema

from dohost.federation.compose.api_schema import print_api_schema
from dohost.federation.compose.compose import compose
from dohost.federation.compose.print_supergraph import print_supergraph
from dohost.federation.contract import (
    CompositionError,
    CompositionHint,
    ExecutionResult,
    GraphQLLimits,
    GraphQLRequest,
    RootField,
    Subgraph,
    SubgraphCaller,
    SubgraphOperation,
    SubgraphReply,
)
from dohost.federation.execute.document import Document, RequestRefused, read_document, refuse
from dohost.federation.execute.operation import Operation, compile_operation
from dohost.federation.execute.run import run_plan
from dohost.federation.execute.variables import Variables
from dohost.federation.plan.graph import PlanGraph
from dohost.federation.plan.plan import Plan
from dohost.federation.plan.planner import Planner
from dohost.federation.plan.walk import Unresolvable
from dohost.federation.read_supergraph import read_supergraph
from dohost.federation.supergraph import Supergraph
from dohost.memo import Memo

__all__ = [
    "CompositionError",
    "CompositionHint",
    "Engine",
    "ExecutionResult",
    "GraphQLLimits",
    "GraphQLRequest",
    "RootField",
    "Subgraph",
    "SubgraphCaller",
    "SubgraphOperation",
    "SubgraphReply",
]

_OPERATIONS_MAX = 1_000
# A longer text is worked out each time, so that a client can't fill memory with texts.
_MEMO_TEXT_MAX = 32_768


class _Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a document before its variables are: None of it depends on a request."""

    document: Document
    variables: Variables


_prepared: Memo[_Prepared | RequestRefused] = Memo(entries_max=_OPERATIONS_MAX)
_operations: Memo[Operation | RequestRefused] = Memo(entries_max=_OPERATIONS_MAX)


class Engine:
    """Composes subgraphs and executes operations against them."""

    def __init__(
        self, supergraph: Supergraph, *, hints: tuple[CompositionHint, ...], limits: GraphQLLimits
    ) -> None:
        self.supergraph = supergraph
        self.hints = hints
        self.limits = limits
        self.api_sdl = print_api_schema(supergraph)
        self.supergraph_sdl = print_supergraph(supergraph)
        self.schema_hash = hashlib.sha256(self.supergraph_sdl.encode()).hexdigest()
        self._schema: GraphQLSchema = build_schema(self.api_sdl)
        self._planner = Planner(PlanGraph(supergraph))
        apart = tuple(g.id for g in supergraph.graphs.values() if g.root_fields_apart)
        self._memo_key = (self.schema_hash, apart, limits)

    @classmethod
    def compose(
        cls, subgraphs: Sequence[Subgraph], *, limits: GraphQLLimits | None = None
    ) -> Engine | list[CompositionError]:
        """Compose subgraphs into an engine, or tell why they don't compose."""
        composed = compose(subgraphs)
        if isinstance(composed, list):
            return composed
        return cls(composed.supergraph, hints=composed.hints, limits=limits or GraphQLLimits())

    @classmethod
    def from_supergraph(cls, sdl: str, *, limits: GraphQLLimits | None = None) -> Engine:
        """Return the engine of a supergraph composed elsewhere. Raises: CallerError."""
        return cls(read_supergraph(sdl), hints=(), limits=limits or GraphQLLimits())

    def plan(self, query: str, operation_name: str | None = None) -> Plan:
        """Return the plan of an operation, every condition on a variable taken as true.

        Raises: RequestRefused, with the errors that a client would get.
        """
        prepared = self._prepare(query, operation_name)
        conditions = dict.fromkeys(prepared.document.condition_variables, True)
        return self._operation(prepared, (query, operation_name), conditions).plan

    def explain(self, request: GraphQLRequest) -> ExecutionResult:
        """Return the operation's plan in `extensions`, executing nothing."""
        try:
            plan = self.plan(request.query, request.operation_name)
        except RequestRefused as refused:
            return ExecutionResult(body={"errors": refused.errors}, is_request_error=True)
        told = {"plan": str(plan), "fetches": plan.fetch_count, "waves": len(plan.waves)}
        return ExecutionResult(body={"data": None, "extensions": told})

    async def execute(
        self,
        request: GraphQLRequest,
        caller: SubgraphCaller,
        *,
        context: object = None,
        allow_mutation: bool = True,
    ) -> ExecutionResult:
        """Execute one operation; failures of the request and of subgraphs are in the body.

        Without `allow_mutation` only queries run (a GET may not change anything). Cancellation leaves calls that were
        started to their caller.
        """
        try:
            prepared = self._prepare(request.query, request.operation_name)
            if not allow_mutation and prepared.document.operation.operation.value != "query":
                raise refuse("METHOD_NOT_ALLOWED", "only queries may be sent this way")
            variables = prepared.variables.coerce(request.variables or {})
            names = prepared.document.condition_variables
            conditions = {name: bool(variables.get(name)) for name in names}
            key = (request.query, request.operation_name)
            operation = self._operation(prepared, key, conditions)
        except RequestRefused as refused:
            return ExecutionResult(body={"errors": refused.errors}, is_request_error=True)
        schema_answers = (
            operation.introspection.answer(self._schema, variables)
            if operation.introspection is not None
            else {}
        )
        response = await run_plan(operation.plan, variables, caller=caller, context=context)
        return ExecutionResult(body=operation.finish(response, schema_answers))

    def _prepare(self, query: str, operation_name: str | None) -> _Prepared:
        def make() -> _Prepared | RequestRefused:
            try:
                document = read_document(
                    query, operation_name, schema=self._schema, limits=self.limits
                )
            except RequestRefused as refused:
                return refused
            variables = Variables(self.supergraph, document.operation)
            return _Prepared(document=document, variables=variables)

        key = (self._memo_key, query, operation_name)
        is_short = len(query) <= _MEMO_TEXT_MAX
        prepared = _prepared.get_or_make(key, make) if is_short else make()
        if isinstance(prepared, RequestRefused):
            raise RequestRefused(prepared.errors)
        return prepared

    def _operation(
        self, prepared: _Prepared, key: tuple[str, str | None], conditions: dict[str, bool]
    ) -> Operation:
        def make() -> Operation | RequestRefused:
            try:
                return compile_operation(
                    prepared.document,
                    conditions,
                    planner=self._planner,
                    supergraph=self.supergraph,
                )
            except Unresolvable as error:
                return refuse("UNRESOLVABLE_FIELD", str(error))

        whole_key = (self._memo_key, key, tuple(conditions.values()))
        is_short = len(key[0]) <= _MEMO_TEXT_MAX
        operation = _operations.get_or_make(whole_key, make) if is_short else make()
        if isinstance(operation, RequestRefused):
            raise RequestRefused(operation.errors)
        return operation
