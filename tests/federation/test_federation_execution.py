"""How a plan runs: what starts when, and what cancellation reaches."""

from __future__ import annotations

import asyncio

import pytest

from dohost.federation.contract import GraphQLLimits, GraphQLRequest, Subgraph, SubgraphReply
from dohost.federation.engine import Engine
from dohost.federation.execute.document import RequestRefused


def two_roots(fed2: str) -> Engine:
    composed = Engine.compose([
        Subgraph(name="a", sdl=fed2 + "type Query { a: Int }"),
        Subgraph(name="b", sdl=fed2 + "type Query { b: Int }"),
    ])  # fmt: skip
    assert isinstance(composed, Engine)
    return composed


class Held:
    """Starts a task per call, as a caller with real I/O does, and holds its reply."""

    def __init__(self) -> None:
        self.replies: dict[str, asyncio.Future[SubgraphReply]] = {}

    def call(self, service, operation, *, context) -> asyncio.Future[SubgraphReply]:
        self.replies[service] = asyncio.get_running_loop().create_future()
        return self.replies[service]


async def test_all_calls_of_a_wave_start_before_the_first_reply(fed2: str) -> None:
    held = Held()
    running = asyncio.ensure_future(two_roots(fed2).execute(GraphQLRequest(query="{ a b }"), held))
    await asyncio.sleep(0)
    assert set(held.replies) == {"a", "b"}
    held.replies["b"].set_result(SubgraphReply(data={"b": 2}))
    held.replies["a"].set_result(SubgraphReply(data={"a": 1}))
    assert (await running).body == {"data": {"a": 1, "b": 2}}


async def test_cancelling_an_execution_cancels_the_call_it_waits_for(fed2: str) -> None:
    held = Held()
    running = asyncio.ensure_future(two_roots(fed2).execute(GraphQLRequest(query="{ a }"), held))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert held.replies["a"].cancelled()


def test_an_execution_whose_replies_are_ready_never_suspends(fed2: str) -> None:
    class Ready:
        async def call(self, service, operation, *, context) -> SubgraphReply:
            return SubgraphReply(data={service: 1})

    running = two_roots(fed2).execute(GraphQLRequest(query="{ b x: a }"), Ready())
    with pytest.raises(StopIteration) as stopped:
        running.send(None)
    assert stopped.value.value.body["data"] == {"b": 1, "x": None}


async def test_a_cached_operation_is_parsed_and_planned_once(fed2: str) -> None:
    engine = two_roots(fed2)
    assert engine.plan("{ a }") is engine.plan("{ a }")


def test_engines_of_the_same_schemas_share_what_they_worked_out(fed2: str) -> None:
    assert two_roots(fed2).plan("{ a b }") is two_roots(fed2).plan("{ a b }")


def test_engines_with_other_limits_share_nothing(fed2: str) -> None:
    def deep(depth: int) -> Engine:
        composed = Engine.compose(
            [Subgraph(name="a", sdl=fed2 + "type Query { t: T } type T { t: T i: Int }")],
            limits=GraphQLLimits(depth_max=depth),
        )
        assert isinstance(composed, Engine)
        return composed

    query = "{ t { t { i } } }"
    assert deep(3).plan(query).fetch_count == 1
    with pytest.raises(RequestRefused, match="deep"):
        deep(2).plan(query)


def test_a_very_long_text_is_not_kept(fed2: str) -> None:
    engine, text = two_roots(fed2), "{ a }" + " " * 40_000
    assert str(engine.plan(text)) == str(engine.plan("{ a }"))
    assert engine.plan(text) is not engine.plan(text)


def test_introspection_that_is_not_allowed_is_refused_and_typename_is(fed2: str) -> None:
    composed = Engine.compose(
        [Subgraph(name="a", sdl=fed2 + "type Query { a: Int }")],
        limits=GraphQLLimits(allows_introspection=False),
    )
    assert isinstance(composed, Engine)
    assert composed.plan("{ __typename }").fetch_count == 0
    with pytest.raises(RequestRefused, match="introspection"):
        composed.plan("{ __schema { queryType { name } } }")


NESTED = {
    "a": "type Query { a: Int } type Mutation { do: Payload } type Payload { ok: Boolean query: Query again: [Query] }",
    "b": "type Query { b(n: Int): Int nope: Int! @shareable }",
}


def nested(world, fed2: str):
    def refuse() -> None:
        raise ValueError("not today")

    payload = {"ok": True, "query": {"a": 1}, "again": [{"a": 1}, None, {"a": 1}]}
    return world({
        "a": (fed2 + NESTED["a"], {"Query.a": lambda: 1, "Mutation.do": lambda: payload}),
        "b": (fed2 + NESTED["b"], {"Query.b": lambda n: n, "Query.nope": refuse}),
    })  # fmt: skip


async def test_a_query_below_a_mutation_reaches_every_subgraph(world, fed2: str) -> None:
    cut = nested(world, fed2)
    data = await cut.data(
        "mutation($n: Int) { do { ok query { a x: b(n: $n) } again { b(n: 2) y: b(n: 3) } } }",
        {"n": 5},
    )
    assert data == {
        "do": {
            "ok": True,
            "query": {"a": 1, "x": 5},
            "again": [{"b": 2, "y": 3}, None, {"b": 2, "y": 3}],
        }
    }
    assert [(service, call.kind) for service, call in cut.calls] == [
        ("a", "mutation"),
        ("b", "query"),
        ("b", "query"),
    ]


async def test_a_query_below_a_mutation_is_not_asked_for_where_it_is_null(world, fed2: str) -> None:
    cut = world({
        "a": (fed2 + NESTED["a"], {"Mutation.do": lambda: {"ok": False, "query": None}}),
        "b": (fed2 + NESTED["b"], {}),
    })  # fmt: skip
    assert await cut.data("mutation { do { query { b(n: 1) } } }") == {"do": {"query": None}}
    assert cut.services == ["a"]


async def test_an_error_below_a_query_below_a_mutation_has_the_path_of_the_client(
    world, fed2: str
) -> None:
    body = await nested(world, fed2).body("mutation { do { ok again { nope } } }")
    assert body["data"] == {"do": {"ok": True, "again": [None, None, None]}}
    assert [error["path"] for error in body["errors"]] == [
        ["do", "again", 0, "nope"],
        ["do", "again", 2, "nope"],
    ]


async def test_a_null_that_was_taken_deep_inside_is_told_with_its_whole_path(
    world, fed2: str
) -> None:
    shelf = {"box": {"name": None}, "boxes": [{"name": "x"}, {"name": None}], "grid": [[1], [None]]}
    cut = world({
        "a": (fed2 + "type Query { shelves: [Shelf] } type Shelf { box: Box boxes: [Box] grid: [[Int!]] } type Box { name: String! }", {"Query.shelves": list}),
    })  # fmt: skip
    cut.down["a"] = SubgraphReply(data={"shelves": [None, shelf]}, errors=[])
    body = await cut.body("{ shelves { box { name } boxes { name } grid } }")
    assert body["data"] == {
        "shelves": [None, {"box": None, "boxes": [{"name": "x"}, None], "grid": [[1], None]}]
    }
    assert [error["path"] for error in body["errors"]] == [
        ["shelves", 1, "box", "name"],
        ["shelves", 1, "boxes", 1, "name"],
        ["shelves", 1, "grid", 1, 0],
    ]
