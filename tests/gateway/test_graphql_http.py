"""GraphQL over HTTP, rule by rule, through the whole gateway on the fakes."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from deployment import Deployment, Reply

from dohost.gateway import Service, resolves
from dohost.gateway.accept import negotiate
from dohost.gateway.graphql_http import HTML_TYPE, JSON_TYPE, RESPONSE_TYPE

QUERY = "{ greeting }"
ENTITY = "query($n: String!) { __type(name: $n) { name } }"
OFFERED = (JSON_TYPE, RESPONSE_TYPE, HTML_TYPE)


class Greeter(Service):
    schema = """
        type Query { greeting: String!  echo(text: String!): String!  broken: String }
        type Mutation { greet(text: String!): String! }
    """

    def setup(self) -> None:
        self.text = "hello"

    @resolves("Query.greeting")
    def greeting(self) -> str:
        return self.text

    @resolves("Query.echo")
    def echo(self, text: str) -> str:
        return text

    @resolves("Query.broken")
    def broken(self) -> str:
        raise RuntimeError("a secret of the service")

    @resolves("Mutation.greet")
    def greet(self, text: str) -> str:
        self.text = text
        return text


def deploy(**graphql: object) -> Deployment:
    config: dict[str, object] = {
        "services": {"greeter": {"binding": "GREETER_DO", "scope": "shared"}},
        "routes": {"/greeter/*": "greeter"},
        "rate_limits": {"free": {"rpm": 6000, "burst": 1000}},
        "auth": {"anonymous": "all"},
        "graphql": graphql,
    }
    return Deployment(config, {"GREETER_DO": Greeter})


@pytest.fixture
def gateway() -> Deployment:
    return deploy()


async def post(gateway: Deployment, body: object, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await gateway.send("POST", "/graphql", body, headers=named)


async def get(gateway: Deployment, accept: str = RESPONSE_TYPE, **parameters: str) -> Reply:
    query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
    return await gateway.send("GET", f"/graphql?{query}", headers={"Accept": accept})


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON_TYPE),
        ("", JSON_TYPE),
        ("*/*", JSON_TYPE),
        ("application/*", JSON_TYPE),
        ("application/json", JSON_TYPE),
        ("application/json; charset=utf-8", JSON_TYPE),
        ("APPLICATION/GraphQL-Response+JSON", RESPONSE_TYPE),
        ("application/graphql-response+json, application/json;q=0.9", RESPONSE_TYPE),
        ("application/graphql-response+json;q=0.5, application/json", JSON_TYPE),
        ("application/json;q=0, */*", RESPONSE_TYPE),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML_TYPE),
        ("application/json;q=many", JSON_TYPE),
        ("application/xml", None),
        ("application/json;q=0", None),
    ],
)
def test_the_answer_is_the_type_that_accept_likes_best(
    accept: str | None, chosen: str | None
) -> None:
    assert negotiate(accept, OFFERED) == chosen


@pytest.mark.parametrize("media_type", [JSON_TYPE, RESPONSE_TYPE])
async def test_a_result_is_200_in_the_type_asked_for(gateway: Deployment, media_type: str) -> None:
    for reply in (
        await post(gateway, {"query": QUERY}, Accept=media_type),
        await get(gateway, media_type, query=QUERY),
    ):
        assert reply.status == 200
        assert reply.headers["content-type"] == f"{media_type}; charset=utf-8"
        assert reply.headers["vary"] == "Accept"
        assert reply.json == {"data": {"greeting": "hello"}}


async def test_the_new_type_wins_over_the_old_of_equal_weight(gateway: Deployment) -> None:
    accept = f"{JSON_TYPE}, {RESPONSE_TYPE}"
    reply = await post(gateway, {"query": QUERY}, Accept=accept)
    assert reply.headers["content-type"].startswith(RESPONSE_TYPE)


async def test_an_unacceptable_type_is_406(gateway: Deployment) -> None:
    assert (await post(gateway, {"query": QUERY}, Accept="image/png")).status == 406


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_of_another_type_is_415(gateway: Deployment, content_type: str) -> None:
    reply = await post(gateway, json.dumps({"query": QUERY}), Content_Type=content_type)
    assert reply.status == 415


@pytest.mark.parametrize(
    ("charset", "status"),
    [("utf-8", 200), ("UTF-8", 200), ('"utf-8"', 200), ("iso-8859-1", 415), ("utf-16", 415)],
)
async def test_a_body_is_utf8(gateway: Deployment, charset: str, status: int) -> None:
    body = json.dumps({"query": '{ echo(text: "Grüße 🎉") }'}, ensure_ascii=False).encode()
    reply = await post(gateway, body, Content_Type=f"application/json; charset={charset}")
    assert reply.status == status
    if status == 200:
        assert reply.json == {"data": {"echo": "Grüße 🎉"}}


async def test_bytes_that_are_not_utf8_are_400(gateway: Deployment) -> None:
    assert (await post(gateway, b'{"query":"{ echo(text: \\"\xff\\") }"}')).status == 400
    assert (await gateway.send("GET", "/graphql?query=%FF")).status == 400


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "null",
        "[]",
        '"text"',
        "{}",
        '{"query":null}',
        '{"query":1}',
        '{"query":{"a":1}}',
        '{"query":"{ greeting }","operationName":1}',
        '{"query":"{ greeting }","variables":"{}"}',
        '{"query":"{ greeting }","variables":[]}',
        '{"query":"{ greeting }","extensions":1}',
        '{"query":"{ greeting }","extensions":[]}',
    ],
)
@pytest.mark.parametrize("media_type", [JSON_TYPE, RESPONSE_TYPE])
async def test_what_is_no_graphql_request_is_400_with_errors(
    gateway: Deployment, body: str, media_type: str
) -> None:
    reply = await post(gateway, body, Accept=media_type)
    assert reply.status == 400
    assert reply.headers["content-type"].startswith(media_type)
    assert reply.json["errors"][0]["extensions"] == {"code": "BAD_REQUEST"}
    assert "data" not in reply.json


async def test_null_members_count_as_absent_and_unknown_ones_are_ignored(
    gateway: Deployment,
) -> None:
    body = {"query": QUERY, "operationName": None, "variables": None, "extensions": None, "id": 1}
    assert (await post(gateway, body)).json == {"data": {"greeting": "hello"}}


@pytest.mark.parametrize(
    ("query", "code"),
    [("{", "GRAPHQL_PARSE_FAILED"), ("{ nothing }", "GRAPHQL_VALIDATION_FAILED")],
)
async def test_a_wrong_document_is_400_in_the_new_type_and_200_in_the_old(
    gateway: Deployment, query: str, code: str
) -> None:
    for media_type, status in ((RESPONSE_TYPE, 400), (JSON_TYPE, 200)):
        for reply in (
            await post(gateway, {"query": query}, Accept=media_type),
            await get(gateway, media_type, query=query),
        ):
            assert reply.status == status
            assert reply.json["errors"][0]["extensions"]["code"] == code
            assert "data" not in reply.json


async def test_a_failed_field_is_200_in_both_types(gateway: Deployment) -> None:
    for media_type in (RESPONSE_TYPE, JSON_TYPE):
        reply = await post(gateway, {"query": "{ greeting broken }"}, Accept=media_type)
        assert reply.status == 200
        assert reply.json["data"] == {"greeting": "hello", "broken": None}
        assert reply.json["errors"][0]["path"] == ["broken"]
        assert b"secret" not in reply.body


async def test_a_get_carries_every_parameter_in_its_query(gateway: Deployment) -> None:
    document = "query A { greeting } query B($t: String!) { echo(text: $t) }"
    reply = await get(
        gateway, query=document, operationName="B", variables='{"t":"ä&="}', extensions="{}"
    )
    assert reply.json == {"data": {"echo": "ä&="}}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "operationName=A",
        "query={greeting}&variables=nonsense",
        "query={greeting}&variables=[]",
        "query={greeting}&extensions=1",
        "query={greeting}&query={broken}",
        "&".join(["x=1"] * 101),
    ],
)
async def test_a_get_that_is_no_graphql_request_is_400(gateway: Deployment, query: str) -> None:
    reply = await gateway.send("GET", f"/graphql?{query}", headers={"Accept": RESPONSE_TYPE})
    assert reply.status == 400
    assert reply.json["errors"]


async def test_a_mutation_by_get_is_405_and_runs_nothing(gateway: Deployment) -> None:
    reply = await get(gateway, query='mutation { greet(text: "bye") }')
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert (await post(gateway, {"query": QUERY})).json == {"data": {"greeting": "hello"}}
    await post(gateway, {"query": 'mutation { greet(text: "bye") }'})
    assert (await post(gateway, {"query": QUERY})).json == {"data": {"greeting": "bye"}}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_are_405_with_allow(gateway: Deployment, method: str) -> None:
    reply = await gateway.send(method, "/graphql")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_head_answers_like_get_without_a_body(gateway: Deployment) -> None:
    reply = await gateway.send("HEAD", "/graphql?query={greeting}")
    assert (reply.status, reply.body) == (200, b"")


async def test_asking_for_a_type_that_is_not_there_is_null_and_no_error(
    gateway: Deployment,
) -> None:
    reply = await post(gateway, {"query": ENTITY, "variables": {"n": "Nobody"}})
    assert reply.json == {"data": {"__type": None}}


async def test_graphql_that_is_switched_off_is_404() -> None:
    assert (await post(deploy(enabled=False), {"query": QUERY})).status == 404


async def test_introspection_that_is_switched_off_is_refused_and_typename_is_not() -> None:
    gateway = deploy(introspection=False)
    refused = await post(gateway, {"query": "{ __schema { queryType { name } } }"})
    assert refused.json["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert (await post(gateway, {"query": "{ __typename }"})).json == {
        "data": {"__typename": "Query"}
    }
