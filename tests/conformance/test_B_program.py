"""The program of objects that call one another back, as it stands."""

from __future__ import annotations

import asyncio

import pytest

from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(main="programs/rpc_callbacks.py")


async def test_a_callback_writes_where_it_comes_from(dohost: IsolatedHost) -> None:
    ledger, desk = dohost.env.LEDGER.getByName("main"), dohost.env.DESK.getByName("front")
    for cents in (500, 250, 125):
        await ledger.record("ada", cents)
    assert await desk.audit("ada", 2) == {"shown": 2, "total": 750}
    assert await desk.notes() == {"seen:1": 500, "seen:2": 250}
    await dohost.evict_all()
    assert await desk.notes() == {"seen:1": 500, "seen:2": 250}


async def test_a_decision_of_another_object_is_part_of_a_critical_section(
    dohost: IsolatedHost,
) -> None:
    ledger = dohost.env.LEDGER.getByName("main")
    desks = [dohost.env.DESK.getByName(name) for name in ("a", "b", "c")]
    await ledger.record("ada", 1000)
    for desk in desks:
        await desk.set_limit(600)
    answers = await asyncio.gather(*[desk.pay("ada", 500) for desk in desks])
    assert sorted(answer["approved"] for answer in answers) == [False, True, True]
    assert await ledger.balance("ada") == 0
    assert [(await desk.notes())["decisions"] for desk in desks] == [1, 1, 1]


async def test_a_returned_function_counts_where_it_was_made(dohost: IsolatedHost) -> None:
    desk = dohost.env.DESK.getByName("front")
    assert await desk.receipts(3) == ["front-001", "front-002", "front-003"]
    await dohost.settle()
    # Nobody holds the function any more, so its object can go.
    assert await dohost.evict_all() == 2


async def test_the_same_over_http(dohost: IsolatedHost) -> None:
    async def ask(method: str, path: str) -> object:
        return await (await dohost.fetch(f"http://x{path}", method=method)).json()

    assert await ask("POST", "/record?account=ada&cents=900") == {"balance": 900}
    refused = {"approved": False, "balance": 900}
    assert await ask("POST", "/pay?account=ada&cents=100") == refused
    await dohost.env.DESK.getByName("front").set_limit(100)
    assert await ask("POST", "/pay?account=ada&cents=100") == {"approved": True, "balance": 800}
    assert await ask("GET", "/audit?account=ada") == {"shown": 2, "total": 800}
