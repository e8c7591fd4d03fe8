"""A service's side of federation: a schema, resolvers, and operations compiled against them.

The engine sends the text of an operation; its compiled form is memoised by text, so an object parses
nothing twice. Resolvers are named: `Query.user` (a root field), `User` (entities, from representations),
`User.orders` (a field; the parent first). What has no resolver is read from the parent: a dict's member,
an attribute, a Struct's field.

Nulls are left where they are found: the engine's projection propagates them by the composed schema.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping

import msgspec
from graphql import (
    FragmentDefinitionNode,
    GraphQLError,
    OperationDefinitionNode,
    ValueNode,
    parse,
    value_from_ast_untyped,
)

from dohost.errors import CallerError
from dohost.federation.contract import GraphQLError as ErrorObject
from dohost.federation.contract import JsonObject, Subgraph, SubgraphReply
from dohost.federation.sdl.lenient import with_lookups
from dohost.federation.sdl.model import SubgraphSchema, TypeDef
from dohost.federation.sdl.parse import parse_subgraph
from dohost.federation.subgraph_compile import Compiler, Selection
from dohost.federation.subgraph_run import Run
from dohost.memo import Memo

_OPERATIONS: Memo[CompiledOperation] = Memo(entries_max=2_000)
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


class Resolver:
    """A function that resolves fields or entities. `is_batch` takes all representations at once."""

    __slots__ = ("_names", "_takes_any", "function", "is_batch", "wants_representation")

    def __init__(self, function: Callable[..., object], *, is_batch: bool = False) -> None:
        self.function = function
        self.is_batch = is_batch
        parameters = inspect.signature(function).parameters
        self._names = frozenset(parameters)
        self._takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        self.wants_representation = "representation" in self._names

    def keyword(self, argument: str) -> str:
        """Return the parameter that takes a GraphQL argument: by its name, or in snake case."""
        if argument in self._names or self._takes_any:
            return argument
        return _HUMP.sub(lambda hump: "_" + hump[1], argument).lower()


class ServiceSchema(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A service's schema as it executes against it."""

    sdl: str
    types: Mapping[str, TypeDef]

    @staticmethod
    def parse(sdl: str) -> ServiceSchema:
        """Parse a service's SDL. Raises: CallerError naming every problem."""
        read = parse_subgraph(Subgraph(name="service", sdl=sdl, lenient=True))
        if not isinstance(read, SubgraphSchema):
            raise CallerError("; ".join(f"{error.code}: {error.message}" for error in read))
        return ServiceSchema(sdl=sdl, types=with_lookups(read).types)


class CompiledOperation(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """An operation on one service; knows no request."""

    kind: str
    selection: Selection
    defaults: Mapping[str, object]

    async def run(
        self,
        resolvers: Mapping[str, Resolver],
        *,
        variables: Mapping[str, object],
        representations: list[JsonObject] | None = None,
        receiver: object = None,
        on_error: Callable[[Exception], ErrorObject] | None = None,
    ) -> SubgraphReply:
        """Run the operation; a failing resolver is an error at its field.

        A `receiver` that is not None is each resolver's first argument. `on_error` words an exception
        for the client; without it only the messages of `CallerError` are shown. Never suspends unless a
        resolver does. Cancel-safe as far as the resolvers are.
        """
        run = Run(
            resolvers,
            receiver=receiver,
            variables={**self.defaults, **variables, "representations": representations},
            describe=on_error or describe_error,
        )
        data: JsonObject = {}
        run.select(self.selection, source=None, out=data, path=())
        await run.finish(is_serial=self.kind == "mutation")
        return SubgraphReply(data=data, errors=run.errors)


def describe_error(error: Exception) -> ErrorObject:
    """Return the error object of an exception without telling internals."""
    if isinstance(error, CallerError):
        return {"message": str(error), "extensions": {"code": error.code}}
    return {"message": "the resolver failed", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}


def compile_operation(schema: ServiceSchema, text: str) -> CompiledOperation:
    """Return the compiled form of an operation. Raises: CallerError if it doesn't fit the schema."""
    return _OPERATIONS.get_or_make((schema.sdl, text), lambda: _compile(schema, text))


def _compile(schema: ServiceSchema, text: str) -> CompiledOperation:
    try:
        document = parse(text, no_location=True)
    except GraphQLError as error:
        raise CallerError(f"the operation does not parse: {error.message}") from error
    operations = [n for n in document.definitions if isinstance(n, OperationDefinitionNode)]
    if len(operations) != 1:
        raise CallerError(f"one operation is expected, not {len(operations)}")
    operation = operations[0]
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    compiler = Compiler(schema.types, fragments)
    root = operation.operation.value.capitalize()
    return CompiledOperation(
        kind=operation.operation.value,
        selection=compiler.selection(root, operation.selection_set),
        defaults={
            definition.variable.name.value: value_from_ast_untyped(definition.default_value)
            for definition in operation.variable_definitions or ()
            if isinstance(definition.default_value, ValueNode)
        },
    )
