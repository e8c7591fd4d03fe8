"""`/graphql`: the services' schemas as one, over HTTP, under the gateway's limiter and breakers.

The HTTP envelope is graphql_http's matter. A browser that opens the path gets a page to write queries on,
and `?plan=1` answers with the query plan instead of executing it; `graphql.ide = false` closes both, as a
deployment in production should. Subgraph operations go to service objects as `gateway_graphql`; entities
are grouped by the object that their key names, one call per object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from dohost.clock import Clock
from dohost.federation.contract import (
    ExecutionResult,
    GraphQLLimits,
    GraphQLRequest,
    Subgraph,
)
from dohost.gateway.accept import names, negotiate
from dohost.gateway.auth import authorise
from dohost.gateway.config import GatewayConfig
from dohost.gateway.dispatch import Dispatcher
from dohost.gateway.exchange import Exchange
from dohost.gateway.forward import Answer
from dohost.gateway.graphql_http import (
    HTML_TYPE,
    JSON_TYPE,
    RESPONSE_TYPE,
    answer_result,
    answer_unreadable,
    read_request,
)
from dohost.gateway.graphql_page import page_answer
from dohost.gateway.problems import Problem, problem
from dohost.gateway.service_calls import ServiceCalls
from dohost.gateway.subgraph_calls import Charge, SubgraphCalls
from dohost.gateway.upstream import PLACE
from dohost.memo import Memo

if TYPE_CHECKING:
    from dohost.federation.engine import Engine

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
        config = self._config.graphql
        if not config.enabled:
            return problem("not-found", "GraphQL is switched off here.")
        has_page = config.ide and exchange.method != "POST"
        offered = (JSON_TYPE, RESPONSE_TYPE, HTML_TYPE) if has_page else (JSON_TYPE, RESPONSE_TYPE)
        media_type = negotiate(exchange.headers.get("accept"), _preferred(exchange, offered))
        if media_type is None:
            return problem("not-acceptable", f"Answers are {RESPONSE_TYPE} or {JSON_TYPE}.")
        if media_type == HTML_TYPE:
            return page_answer()
        request = await read_request(exchange, self._config.limits)
        if isinstance(request, Problem):
            return answer_unreadable(request, media_type)
        engine = await self.engine()
        if isinstance(engine, Problem):
            return engine
        if config.ide and exchange.query().get("plan") == "1":
            return answer_result(engine.explain(request), media_type)
        result = await self._execute(engine, request, exchange=exchange, charge=charge)
        return result if isinstance(result, Problem) else answer_result(result, media_type)

    async def _execute(
        self, engine: Engine, request: GraphQLRequest, *, exchange: Exchange, charge: Charge
    ) -> ExecutionResult | Problem:
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
        return result

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


def compose(subgraphs: Sequence[Subgraph], config: GatewayConfig) -> Engine | Problem:
    """Return the composed schema, or a problem with every composition error."""
    # Loading graphql-core takes a tenth of a second that most processes never need.
    from dohost.federation.engine import Engine

    limits = GraphQLLimits(
        depth_max=config.graphql.depth_max,
        aliases_max=config.graphql.aliases_max,
        tokens_max=config.graphql.tokens_max,
        directives_max=config.graphql.directives_max,
        allows_introspection=config.graphql.introspection,
    )
    composed = Engine.compose(subgraphs, limits=limits)
    if isinstance(composed, list):
        errors = [f"{each.code}: {each.message}" for each in composed]
        return problem("internal-error", "The services' schemas don't compose.", errors=errors)
    return composed


def _preferred(exchange: Exchange, offered: tuple[str, ...]) -> tuple[str, ...]:
    """Put the new media type first for whoever names it; the rest are taken to expect plain JSON."""
    if names(exchange.headers.get("accept", ""), RESPONSE_TYPE):
        return (RESPONSE_TYPE, *(each for each in offered if each != RESPONSE_TYPE))
    return offered


def _is_refused_mutation(result: ExecutionResult) -> bool:
    errors = result.body.get("errors")
    told = [each.get("extensions") for each in errors] if isinstance(errors, list) else []
    codes = {each.get("code") for each in told if isinstance(each, Mapping)}
    return result.is_request_error and "METHOD_NOT_ALLOWED" in codes
