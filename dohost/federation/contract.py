"""What passes between the engine, whoever calls subgraphs for it, and the subgraphs.

Values only. A subgraph that is down, slow or refused is an *answer* here (`SubgraphReply` with `data`
None and `errors`), never an exception: so one failing subgraph nulls its own fields and no others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

import msgspec

JsonObject = dict[str, object]
GraphQLError = dict[str, object]
"""One error in the shape of the response: `message`, and perhaps `path`, `locations`, `extensions`."""


class Subgraph(msgspec.Struct, frozen=True, kw_only=True):
    """One service's schema as it is given to composition.

    `lenient` accepts a fragment that names types it does not define (a service's `schema`).
    `root_fields_apart` makes the planner fetch each root field by itself, for services whose object is
    derived from the field's arguments.
    """

    name: str
    sdl: str
    url: str = ""
    lenient: bool = False
    root_fields_apart: bool = False


class CompositionError(msgspec.Struct, frozen=True, kw_only=True):
    """Why subgraphs don't compose: Apollo's code, a message, and `subgraph:line:column` positions."""

    code: str
    message: str
    nodes: tuple[str, ...] = ()


class CompositionHint(msgspec.Struct, frozen=True, kw_only=True):
    """Something that composes but is worth a look; `level` is INFO, WARN or DEBUG."""

    code: str
    level: str
    message: str


class GraphQLLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on one document, each checked before the work that it bounds.

    `allows_introspection`: whether `__schema` and `__type` may be asked for.
    """

    depth_max: int = 15
    aliases_max: int = 50
    tokens_max: int = 5_000
    directives_max: int = 50
    root_fields_max: int = 20
    allows_introspection: bool = True


class GraphQLRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One operation as a client sends it."""

    query: str
    variables: Mapping[str, object] | None = None
    operation_name: str | None = None
    extensions: Mapping[str, object] | None = None


class RootField(msgspec.Struct, frozen=True, kw_only=True):
    """A root field of a subgraph operation with its arguments' values, for choosing an object."""

    response_key: str
    name: str
    arguments: Mapping[str, object]


class SubgraphOperation(msgspec.Struct, frozen=True, kw_only=True):
    """One request to one subgraph.

    `representations` is None for a root fetch (then `root_fields` says what is asked of the root);
    otherwise `text` has a variable `$representations` whose value this list is, and the answer is
    `data["_entities"]`, one per representation, in order. `variables` never holds `representations`.
    """

    text: str
    variables: JsonObject
    representations: list[JsonObject] | None = None
    root_fields: tuple[RootField, ...] = ()
    kind: str = "query"


class SubgraphReply(msgspec.Struct, frozen=True, kw_only=True):
    """A subgraph's answer; `errors` in the shape of GraphQL's response."""

    data: Mapping[str, object] | None
    errors: Sequence[GraphQLError] = ()


class SubgraphCaller(Protocol):
    """How the engine reaches subgraphs.

    `call` starts the work at call time and returns something to await; the engine starts all calls of a
    wave before it awaits the first. It answers failures as replies and lets only cancellation and bugs out.
    """

    def call(
        self, service: str, operation: SubgraphOperation, *, context: object
    ) -> Awaitable[SubgraphReply]:
        """Begin `operation` on `service` and return an awaitable of its reply."""
        ...


class ExecutionResult(msgspec.Struct, frozen=True, kw_only=True):
    """The response body, and whether it is a request error (nothing was executed: HTTP 400)."""

    body: JsonObject
    is_request_error: bool = False
