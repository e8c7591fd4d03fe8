"""Subgraphs in memory: schemas, resolvers, and a caller that records what it was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec
import pytest

from dohost.federation.contract import (
    GraphQLRequest,
    Subgraph,
    SubgraphOperation,
    SubgraphReply,
)
from dohost.federation.engine import Engine
from dohost.federation.subgraph import Resolver, ServiceSchema, compile_operation

FED2 = (
    'extend schema @link(url: "https://specs.apollo.dev/federation/v2.7", import: ["@key", '
    '"@external", "@requires", "@provides", "@shareable", "@inaccessible", "@override", '
    '"@interfaceObject", "@tag"])\n'
)


class World:
    """A composed engine over in-memory services; `calls` lists every subgraph operation."""

    def __init__(self, services: Mapping[str, tuple[str, Mapping[str, object]]]) -> None:
        composed = Engine.compose([Subgraph(name=n, sdl=s) for n, (s, _) in services.items()])
        assert isinstance(composed, Engine), composed
        self.engine = composed
        self.calls: list[tuple[str, SubgraphOperation]] = []
        self.down: dict[str, SubgraphReply] = {}
        self._schemas = {n: ServiceSchema.parse(s) for n, (s, _) in services.items()}
        self._resolvers = {
            name: {
                field: f if isinstance(f, Resolver) else Resolver(f)
                for field, f in resolvers.items()
            }
            for name, (_, resolvers) in services.items()
        }

    def call(
        self, service: str, operation: SubgraphOperation, *, context: object
    ) -> Awaitable[SubgraphReply]:
        self.calls.append((service, operation))
        return self._answer(service, operation)

    async def _answer(self, service: str, operation: SubgraphOperation) -> SubgraphReply:
        if service in self.down:
            return self.down[service]
        compiled = compile_operation(self._schemas[service], operation.text)
        reply = await compiled.run(
            self._resolvers[service],
            variables=operation.variables,
            representations=operation.representations,
        )
        # What a real subgraph answers has been through JSON: nothing in it is shared.
        data = msgspec.json.decode(msgspec.json.encode(reply.data))
        return SubgraphReply(data=data, errors=reply.errors)

    async def body(self, query: str, variables: Mapping[str, object] | None = None) -> dict:
        self.calls.clear()
        request = GraphQLRequest(query=query, variables=variables)
        result = await self.engine.execute(request, self)
        return result.body

    async def data(self, query: str, variables: Mapping[str, object] | None = None) -> dict:
        body = await self.body(query, variables)
        assert "errors" not in body, body
        return body["data"]

    @property
    def services(self) -> list[str]:
        return [service for service, _ in self.calls]


@pytest.fixture
def world() -> Callable[[Mapping[str, tuple[str, Mapping[str, object]]]], World]:
    return World


@pytest.fixture
def fed2() -> str:
    return FED2
