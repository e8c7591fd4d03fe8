"""The sample services on a real host, tested as a project of one's own would be: with `dohost.testing`."""

from __future__ import annotations

from dohost.testing import IsolatedHost

ALICE = {"id": "alice", "name": "Alice", "tier": "pro"}


async def test_the_missions_requests_over_http(dohost: IsolatedHost) -> None:
    async with dohost.client() as http:
        assert await (await http.get("/api/v1/users/alice")).json() == ALICE
        calls = [{"service": "users", "method": "get", "args": ["alice"]}]
        aggregate = await http.post("/api/aggregate", json={"calls": calls})
        assert await aggregate.json() == {"users": ALICE}
        query = '{ user(id: "alice") { name orders { total } } }'
        answer = await (await http.post("/graphql", json={"query": query})).json()
        assert answer["data"]["user"]["orders"] == [{"total": 99}, {"total": 42.5}]


async def test_tokens_come_back_as_time_goes_on(dohost: IsolatedHost) -> None:
    statuses = [(await dohost.fetch("/api/v1/users/alice")).status for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    await dohost.advance(60)
    assert (await dohost.fetch("/api/v1/users/alice")).status == 200


async def test_a_limit_survives_a_restart(dohost: IsolatedHost) -> None:
    for _ in range(10):
        await dohost.fetch("/api/v1/users/alice")
    await dohost.restart()
    assert (await dohost.fetch("/api/v1/users/alice")).status == 429


async def test_services_are_called_without_the_gateway(dohost: IsolatedHost) -> None:
    users = dohost.env.USER_DO.getByName("main")
    await dohost.fetch("/api/v1/users/alice")
    assert (await dohost.storage(users).exec("SELECT count(*) AS n FROM users"))[0]["n"] > 0
    ids = await dohost.list_ids(dohost.env.USER_DO)
    assert [each.name for each in ids] == ["main"]


async def test_an_overloaded_service_is_an_answer_of_the_gateway(dohost: IsolatedHost) -> None:
    with dohost.overload(dohost.env.USER_DO.getByName("main"), times=None) as fault:
        response = await dohost.fetch("/api/v1/users/nobody-cached")
        assert response.status == 503
        assert fault.count >= 1


async def test_metrics_are_of_all_objects_and_outlive_them(dohost: IsolatedHost) -> None:
    async with dohost.client() as http:
        for name in ("alice", "alice", "bob"):
            await http.get(f"/api/v1/users/{name}")
        await dohost.advance(60)
        await dohost.restart()
        text = await (await http.get("/metrics")).text()
    assert 'gateway_requests_total{route="/api/v1/users/*",status="200"} 3' in text
    # The second answer about alice came from the cache.
    assert 'gateway_calls_total{service="users",outcome="ok"} 2' in text
