"""The service's side: resolvers of every kind, run on compiled operations."""

from __future__ import annotations

import asyncio
from enum import Enum

import msgspec
import pytest

from dohost.errors import CallerError
from dohost.federation.subgraph import Resolver, ServiceSchema, compile_operation

SCHEMA = ServiceSchema.parse("""
  type Query { user(userId: ID!): User users(first: Int = 2): [User!]! any: Any tier: Tier broken: Int! }
  type Mutation { add(n: Int!): Int }
  type User @key(fields: "id") { id: ID! fullName: String! friends: [User] age: Int double: Int }
  union Any = User | Cat
  type Cat { name: String }
  enum Tier { FREE PRO }
""")


class User(msgspec.Struct):
    id: int
    full_name: str
    age: object = 5


class Cat(msgspec.Struct):
    name: str


class Tier(Enum):
    FREE = "free"


async def run(text: str, resolvers: dict, **options: object) -> tuple[object, list]:
    compiled = compile_operation(SCHEMA, text)
    wrapped = {n: f if isinstance(f, Resolver) else Resolver(f) for n, f in resolvers.items()}
    options.setdefault("variables", {})
    reply = await compiled.run(wrapped, **options)
    return reply.data, list(reply.errors)


async def test_arguments_in_camel_case_reach_parameters_in_snake_case() -> None:
    seen = {"Query.user": lambda user_id: User(int(user_id), "Ada L")}
    data, errors = await run('{ user(userId: "7") { id fullName __typename } }', seen)
    assert (data, errors) == ({"user": {"id": "7", "fullName": "Ada L", "__typename": "User"}}, [])


async def test_defaults_of_the_schema_and_variables_reach_the_resolver() -> None:
    resolvers = {"Query.users": lambda first: [{"id": i} for i in range(first)]}
    assert (await run("{ users { id } }", resolvers))[0] == {"users": [{"id": "0"}, {"id": "1"}]}
    text = "query($n: Int = 3) { users(first: $n) { id } }"
    assert len((await run(text, resolvers))[0]["users"]) == 3
    assert len((await run(text, resolvers, variables={"n": 1}))[0]["users"]) == 1


async def test_async_resolvers_of_one_level_run_together() -> None:
    waiting: list[str] = []
    gate = asyncio.Event()

    async def slow(user: dict) -> int:
        waiting.append(user["id"])
        if len(waiting) == 2:
            gate.set()
        await gate.wait()
        return 1

    resolvers = {"Query.users": lambda first: [{"id": "a"}, {"id": "b"}], "User.age": slow}
    data, _ = await run("{ users { age } }", resolvers)
    assert data == {"users": [{"age": 1}, {"age": 1}]}


def test_plain_resolvers_never_suspend() -> None:
    compiled = compile_operation(SCHEMA, "{ tier }")
    resolver = Resolver(lambda: Tier.FREE)
    running = compiled.run({"Query.tier": resolver}, variables={})
    with pytest.raises(StopIteration) as stopped:
        running.send(None)
    assert stopped.value.value.data == {"tier": "FREE"}


async def test_the_receiver_is_the_first_argument() -> None:
    class Service:
        def user(self, user_id: str) -> dict:
            return {"id": user_id, "full_name": type(self).__name__}

    resolvers = {"Query.user": Service.user}
    data, _ = await run('{ user(userId: "1") { fullName } }', resolvers, receiver=Service())
    assert data == {"user": {"fullName": "Service"}}


async def test_a_failing_resolver_is_an_error_at_its_field_without_internals() -> None:
    def fail() -> int:
        raise RuntimeError("password=1")

    data, errors = await run("{ broken tier }", {"Query.broken": fail, "Query.tier": lambda: None})
    assert data == {"broken": None, "tier": None}
    assert [(e["path"], e["message"]) for e in errors] == [(["broken"], "the resolver failed")]


async def test_a_caller_error_keeps_its_message_and_on_error_words_the_rest() -> None:
    async def fail() -> int:
        raise CallerError("send less")

    _, errors = await run("{ broken }", {"Query.broken": fail})
    assert errors[0]["message"] == "send less"
    _, errors = await run(
        "{ broken }", {"Query.broken": fail}, on_error=lambda e: {"message": type(e).__name__}
    )
    assert errors[0]["message"] == "CallerError"


async def test_a_value_of_the_wrong_type_is_null_with_an_error() -> None:
    resolvers = {"Query.user": lambda user_id: User(1, "x", age="old")}
    data, errors = await run('{ user(userId: "1") { age } }', resolvers)
    assert data == {"user": {"age": None}}
    assert errors[0]["path"] == ["user", "age"]


async def test_the_type_of_a_struct_is_the_name_of_its_class() -> None:
    text = "{ any { __typename ... on Cat { name } ... on User { id } } }"
    data, _ = await run(text, {"Query.any": lambda: Cat("Tom")})
    assert data == {"any": {"__typename": "Cat", "name": "Tom"}}


ENTITIES = "query($representations: [_Any!]!) { _entities(representations: $representations) { ... on User { id fullName double } } }"


async def test_entities_come_back_in_order_with_nulls_where_none_is() -> None:
    people = {"1": "Ada", "3": "Bob"}
    resolvers = {
        "User": lambda r: {"full_name": people[r["id"]]} if r["id"] in people else None,
        "User.double": lambda user, representation: 2 * representation["age"],
    }
    asked = [{"__typename": "User", "id": str(i), "age": i} for i in (3, 2, 1)]
    data, errors = await run(ENTITIES, resolvers, representations=asked)
    assert errors == []
    assert data["_entities"] == [
        {"id": "3", "fullName": "Bob", "double": 6},
        None,
        {"id": "1", "fullName": "Ada", "double": 2},
    ]


async def test_a_batch_of_the_wrong_length_is_an_error_and_no_guess() -> None:
    resolvers = {"User": Resolver(lambda listed: [], is_batch=True)}
    asked = [{"__typename": "User", "id": "1"}]
    data, errors = await run(ENTITIES, resolvers, representations=asked)
    assert data == {"_entities": [None]}
    assert "must give 1 values" in errors[0]["message"]


async def test_mutations_await_in_order() -> None:
    log: list[int] = []

    async def add(n: int) -> int:
        await asyncio.sleep(0)
        log.append(n)
        return n

    data, _ = await run("mutation { b: add(n: 2) a: add(n: 1) }", {"Mutation.add": add})
    assert (data, log) == ({"b": 2, "a": 1}, [2, 1])


def test_operations_are_compiled_once_per_text() -> None:
    assert compile_operation(SCHEMA, "{ tier }") is compile_operation(SCHEMA, "{ tier }")


@pytest.mark.parametrize("text", ["{", "{ nope }", "fragment F on Query { tier }"])
def test_a_text_that_does_not_fit_is_the_callers_fault(text: str) -> None:
    with pytest.raises(CallerError):
        compile_operation(SCHEMA, text)


async def test_cancelling_a_run_cancels_its_resolvers() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hang() -> int:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return 1

    task = asyncio.ensure_future(run("{ broken }", {"Query.broken": hang}))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()
