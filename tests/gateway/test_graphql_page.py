"""The page for browsers, and the plan that it shows."""

from __future__ import annotations

import base64
import hashlib
import re

from test_graphql_http import deploy

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_a_browser_gets_a_page_that_loads_nothing_from_elsewhere() -> None:
    reply = await deploy().send("GET", "/graphql", headers=BROWSER)
    text = reply.body.decode()
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(r"(src|href)=|https?://|@import|url\(", text)


async def test_the_policy_names_the_page_s_only_script_by_hash() -> None:
    reply = await deploy().send("GET", "/graphql", headers=BROWSER)
    scripts = re.findall(r"<script>(.*?)</script>", reply.body.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert len(scripts) == 1
    assert f"script-src 'sha256-{digest}'" in reply.headers["content-security-policy"]


async def test_opening_the_page_with_a_query_runs_nothing() -> None:
    gateway = deploy()
    await gateway.send("GET", "/graphql?query=mutation{greet(text:%22x%22)}", headers=BROWSER)
    reply = await gateway.send("POST", "/graphql", {"query": "{ greeting }"})
    assert reply.json == {"data": {"greeting": "hello"}}


async def test_a_post_never_gets_the_page() -> None:
    reply = await deploy().send("POST", "/graphql", {"query": "{ greeting }"}, headers=BROWSER)
    assert reply.json == {"data": {"greeting": "hello"}}


async def test_without_the_ide_there_is_neither_page_nor_plan() -> None:
    gateway = deploy(ide=False)
    page = await gateway.send("GET", "/graphql?query={greeting}", headers=BROWSER)
    assert page.json == {"data": {"greeting": "hello"}}
    plan = await gateway.send("POST", "/graphql?plan=1", {"query": "{ greeting }"})
    assert plan.json == {"data": {"greeting": "hello"}}


async def test_a_plan_is_told_and_not_executed() -> None:
    gateway = deploy()
    mutation = 'mutation { greet(text: "bye") }'
    reply = await gateway.send("POST", "/graphql?plan=1", {"query": mutation})
    told = reply.json["extensions"]
    assert told["plan"].startswith("QueryPlan {\n  Fetch greeter\n")
    assert (told["fetches"], told["waves"]) == (1, 1)
    after = await gateway.send("POST", "/graphql", {"query": "{ greeting }"})
    assert after.json == {"data": {"greeting": "hello"}}


async def test_the_plan_of_a_wrong_document_is_its_errors() -> None:
    reply = await deploy().send("POST", "/graphql?plan=1", {"query": "{ nothing }"})
    assert reply.json["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
