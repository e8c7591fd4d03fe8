"""The mission's two fragments, to the letter."""

from __future__ import annotations

from dohost.federation.contract import GraphQLRequest, Subgraph, SubgraphReply
from dohost.federation.engine import Engine
from dohost.federation.subgraph import Resolver, ServiceSchema, compile_operation

USER = """
type User @key(fields: "id") {
  id: ID!
  name: String!
  orders: [Order!]! @requires(fields: "id")
}
"""
ORDER = """
type Order @key(fields: "id") {
  id: ID!
  total: Float!
  user: User! @provides(fields: "id")
}
"""
RESOLVERS = {
    "users": {
        "User": Resolver(lambda r: {"name": "Alice"} if r["id"] == "alice" else None),
        "User.orders": Resolver(lambda user: [{"id": "o1"}, {"id": "o2"}]),
    },
    "orders": {"Order": Resolver(lambda r: {"total": 99.0, "user": {"id": "alice"}})},
}


class Services:
    async def call(self, service, operation, *, context) -> SubgraphReply:
        schema = ServiceSchema.parse({"users": USER, "orders": ORDER}[service])
        return await compile_operation(schema, operation.text).run(
            RESOLVERS[service],
            variables=operation.variables,
            representations=operation.representations,
        )


async def test_the_missions_fragments_compose_and_answer_its_query() -> None:
    engine = Engine.compose([
        Subgraph(name="users", sdl=USER, lenient=True),
        Subgraph(name="orders", sdl=ORDER, lenient=True),
    ])  # fmt: skip
    assert isinstance(engine, Engine), engine
    request = GraphQLRequest(query='{ user(id: "alice") { name orders { total user { name } } } }')
    result = await engine.execute(request, Services())
    order = {"total": 99.0, "user": {"name": "Alice"}}
    assert result.body == {"data": {"user": {"name": "Alice", "orders": [order, order]}}}


def test_without_leniency_a_type_that_is_only_named_is_an_error() -> None:
    errors = Engine.compose([Subgraph(name="users", sdl=USER), Subgraph(name="orders", sdl=ORDER)])
    assert isinstance(errors, list)
    assert {error.code for error in errors} == {"INVALID_GRAPHQL"}


def test_a_supergraph_survives_printing_and_reading() -> None:
    engine = Engine.compose([
        Subgraph(name="users", sdl=USER, lenient=True),
        Subgraph(name="orders", sdl=ORDER, lenient=True),
    ])  # fmt: skip
    assert isinstance(engine, Engine)
    again = Engine.from_supergraph(engine.supergraph_sdl)
    assert again.supergraph == engine.supergraph
    assert again.schema_hash == engine.schema_hash
