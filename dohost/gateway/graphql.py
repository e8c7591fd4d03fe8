"""`/graphql`: the services' schemas as one, over HTTP, under the gateway's limiter and breakers.

The HTTP face follows the GraphQL-over-HTTP specification: `application/graphql-response+json` answers
carry 400 for a request error and 200 otherwise; legacy `application/json` is 200 for both once the
document was understood. Subgraph operations go to service objects as `gateway_graphql`; entities are
grouped by the object that their key names, one call per object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from dohost.clock import Clock
from dohost.federation.contract import (
    ExecutionResult,
    GraphQLLimits,
    GraphQLRequest,
    Subgraph,
)
from dohost.gateway.auth import authorise
from dohost.gateway.bodies import read_json
from dohost.gateway.config import GatewayConfig
from dohost.gateway.dispatch import Dispatcher
from dohost.gateway.exchange import Exchange
from dohost.gateway.forward import Answer
from dohost.gateway.problems import Problem, problem
from dohost.gateway.service_calls import ServiceCalls
from dohost.gateway.subgraph_calls import Charge, SubgraphCalls
from dohost.gateway.upstream import PLACE
from dohost.memo import Memo

if TYPE_CHECKING:
    from dohost.federation.engine import Engine

RESPONSE_TYPE = "application/graphql-response+json"
JSON_TYPE = "application/json"
MUTATION_BY_GET = problem(
    "method-not-allowed", "Send mutations by POST.", headers=(("Allow", "POST"),)
)
_engines: Memo[Engine | Problem] = Memo(entries_max=16)
_encode = msgspec.json.encode


class GraphqlEndpoint:
    """Answers GraphQL requests for one gateway object."""

    def __init__(
        self, config: GatewayConfig, calls: ServiceCalls, dispatcher: Dispatcher, *, clock: Clock
    ) -> None:
        self._config = config
        self._calls = calls
        self._dispatcher = dispatcher
        self._clock = clock
        self._engine: Engine | None = None

    async def answer(self, exchange: Exchange, *, charge: Charge) -> Answer | Problem:
        """Answer one GET or POST. `charge` pays for a subgraph call; the first is paid already."""
        media_type = _media_type(exchange.headers.get("accept", "*/*"))
        if media_type is None:
            return problem("not-acceptable", f"Answers are {RESPONSE_TYPE} or {JSON_TYPE}.")
        request = await self._request(exchange)
        if isinstance(request, Problem):
            return request
        engine = await self.engine()
        if isinstance(engine, Problem):
            return engine
        caller = SubgraphCalls(
            self._config,
            self._dispatcher,
            identity=exchange.identity,
            clock=self._clock,
            charge=charge,
        )
        forbidden = authorise(
            exchange.identity.principal, required=(), method="POST", config=self._config.auth
        )
        may_mutate = exchange.method == "POST" and forbidden is None
        result = await engine.execute(request, caller, allow_mutation=may_mutate)
        if not may_mutate and _is_refused_mutation(result):
            return forbidden if exchange.method == "POST" and forbidden else MUTATION_BY_GET
        status = 400 if result.is_request_error and media_type == RESPONSE_TYPE else 200
        headers = (("content-type", f"{media_type}; charset=utf-8"),)
        return Answer(status=status, headers=headers, body=_encode(result.body))

    async def engine(self) -> Engine | Problem:
        """Return the composed schema of all services that have one, composing it on first use."""
        if self._engine is not None:
            return self._engine
        names = [name for name, each in self._config.services.items() if each.binding]
        await self._calls.learn(names)
        subgraphs = []
        for name in names:
            offer = await self._calls.offer(name)
            if isinstance(offer, Problem):
                return offer
            if offer.description.sdl:
                template = self._config.services[name].object
                subgraphs.append(
                    Subgraph(
                        name=name,
                        sdl=offer.description.sdl,
                        lenient=True,
                        root_fields_apart=PLACE.search(template) is not None,
                    )
                )
        engine = _engines.get_or_make(
            (self._config.hash, _encode(subgraphs)), lambda: compose(subgraphs, self._config)
        )
        if not isinstance(engine, Problem):
            self._engine = engine
        return engine

    async def _request(self, exchange: Exchange) -> GraphQLRequest | Problem:
        if exchange.method == "POST":
            body = await read_json(exchange.request, self._config.limits)
        else:
            body = _from_query(exchange.query_text)
        if isinstance(body, Problem):
            return body
        return parse_request(body)


def compose(subgraphs: Sequence[Subgraph], config: GatewayConfig) -> Engine | Problem:
    """Return the composed schema, or a problem with every composition error."""
    # Loading graphql-core takes a tenth of a second that most processes never need.
    from dohost.federation.engine import Engine

    limits = GraphQLLimits(
        depth_max=config.graphql.depth_max,
        aliases_max=config.graphql.aliases_max,
        tokens_max=config.graphql.tokens_max,
        directives_max=config.graphql.directives_max,
    )
    composed = Engine.compose(subgraphs, limits=limits)
    if isinstance(composed, list):
        errors = [f"{each.code}: {each.message}" for each in composed]
        return problem("internal-error", "The services' schemas don't compose.", errors=errors)
    return composed


def parse_request(body: object) -> GraphQLRequest | Problem:
    """Return the request that decoded parameters describe, or the 400 for what is wrong in them."""
    if not isinstance(body, Mapping):
        return problem("bad-request", "A GraphQL request is a JSON object with a `query`.")
    query, name = body.get("query"), body.get("operationName")
    if not isinstance(query, str):
        return problem("bad-request", "`query` must be a string.")
    if name is not None and not isinstance(name, str):
        return problem("bad-request", "`operationName` must be a string.")
    maps = {key: body.get(key) for key in ("variables", "extensions")}
    for key, value in maps.items():
        if value is not None and not isinstance(value, Mapping):
            return problem("bad-request", f"`{key}` must be an object.")
    return GraphQLRequest(
        query=query,
        operation_name=name,
        variables=maps["variables"],
        extensions=maps["extensions"],
    )


def _from_query(text: str) -> object | Problem:
    body: dict[str, object] = {}
    for key, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
        if key in ("query", "operationName"):
            body[key] = value
        elif key in ("variables", "extensions") and value:
            try:
                body[key] = msgspec.json.decode(value.encode())
            except (ValueError, RecursionError):
                return problem("bad-request", f"`{key}` is not JSON.")
    return body


def _media_type(accept: str) -> str | None:
    """Return the answer's type: the new one where it is asked for by name, else plain JSON."""
    if RESPONSE_TYPE in accept:
        return RESPONSE_TYPE
    return (
        JSON_TYPE if any(each in accept for each in (JSON_TYPE, "*/*", "application/*")) else None
    )


def _is_refused_mutation(result: ExecutionResult) -> bool:
    errors = result.body.get("errors")
    told = [each.get("extensions") for each in errors] if isinstance(errors, list) else []
    codes = {each.get("code") for each in told if isinstance(each, Mapping)}
    return result.is_request_error and "METHOD_NOT_ALLOWED" in codes
