"""Variables are checked once, at the edge, and forwarded as they were meant."""

from __future__ import annotations

import pytest

from dohost.federation.contract import GraphQLRequest, Subgraph, SubgraphReply
from dohost.federation.engine import Engine

SDL = """
  type Query { f(i: Int, x: Float, s: String, b: Boolean, id: ID, e: E, l: [Int!], in: In): Int }
  enum E { A B }
  input In { n: Int! m: Int = 3 child: In }
"""


class Recorder:
    def __init__(self) -> None:
        self.variables: dict | None = None

    async def call(self, service, operation, *, context) -> SubgraphReply:
        self.variables = operation.variables
        return SubgraphReply(data={"f": 1})


async def send(argument: str, type_text: str, variables: dict) -> tuple[dict | None, dict]:
    engine = Engine.compose([Subgraph(name="a", sdl=SDL)])
    assert isinstance(engine, Engine)
    recorder = Recorder()
    query = f"query($v: {type_text}) {{ f({argument}: $v) }}"
    request = GraphQLRequest(query=query, variables=variables)
    result = await engine.execute(request, recorder)
    return recorder.variables, result.body


@pytest.mark.parametrize(
    ("argument", "type_text", "given", "sent"),
    [
        ("i", "Int", 3, 3),
        ("i", "Int", 3.0, 3),
        ("i", "Int", None, None),
        ("x", "Float", 3, 3),
        ("s", "String", "x", "x"),
        ("b", "Boolean", False, False),
        ("id", "ID", 7, "7"),
        ("e", "E", "B", "B"),
        ("l", "[Int!]", 1, [1]),
        ("l", "[Int!]", [1, 2], [1, 2]),
        ("in", "In", {"n": 1}, {"n": 1, "m": 3}),
        ("in", "In", {"n": 1, "child": {"n": 2, "m": None}}, {"n": 1, "m": 3, "child": {"n": 2, "m": None}}),
    ],
)  # fmt: skip
async def test_a_good_value_reaches_the_subgraph(argument, type_text, given, sent) -> None:
    variables, body = await send(argument, type_text, {"v": given})
    assert body == {"data": {"f": 1}}
    assert variables == {"v": sent}


@pytest.mark.parametrize(
    ("argument", "type_text", "given"),
    [
        ("i", "Int", 3.5),
        ("i", "Int", True),
        ("i", "Int", 2**31),
        ("i", "Int", float("inf")),
        ("i", "Int!", None),
        ("x", "Float", float("nan")),
        ("x", "Float", "1"),
        ("s", "String", 1),
        ("b", "Boolean", 1),
        ("id", "ID", 1.5),
        ("e", "E", "C"),
        ("l", "[Int!]", [1, None]),
        ("in", "In", {}),
        ("in", "In", {"n": 1, "zzz": 2}),
        ("in", "In", 5),
    ],
)
async def test_a_bad_value_is_refused_before_any_call(argument, type_text, given) -> None:
    variables, body = await send(argument, type_text, {"v": given})
    assert variables is None
    assert body["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert body["errors"][0]["message"].startswith("Variable $v: ")


async def test_a_variable_without_a_value_is_not_sent_and_a_default_is() -> None:
    assert (await send("i", "Int", {}))[0] == {}
    assert (await send("i", "Int = 4", {}))[0] == {"v": 4}
