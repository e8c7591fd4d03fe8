"""Example programs about storage: counters, a limiter, notes with a lifetime, notes with a search."""

from __future__ import annotations

import asyncio

import pytest

from dohost.errors import JsException
from dohost.testing import IsolatedHost

counter = pytest.mark.dohost(main="programs/counter.py")
limiter = pytest.mark.dohost(main="programs/rate_limiter.py")
ttl = pytest.mark.dohost(main="programs/ttl_object.py")
notes = pytest.mark.dohost(main="programs/sql_notes.py")

NOTES = [
    {"title": "Dogs", "body": "The dog was running through the wet garden behind the old house."},
    {"title": "Running", "body": "Run every day."},
    {"title": "Cats", "body": "They sleep."},
]


async def text_of(dohost: IsolatedHost, path: str) -> str:
    return await (await dohost.fetch(path)).text()


@counter
async def test_a_counter_goes_up_and_down_and_forgets_nothing(dohost: IsolatedHost) -> None:
    assert await text_of(dohost, "/visits") == "0"
    assert [await text_of(dohost, "/visits/up") for _ in range(3)] == ["1", "2", "3"]
    assert await text_of(dohost, "/visits/down") == "2"
    assert await text_of(dohost, "/others") == "0"
    await dohost.evict(dohost.env.COUNTER.getByName("visits"))
    assert await text_of(dohost, "/visits") == "2"
    assert (await dohost.fetch("/visits/sideways")).status == 404


@counter
async def test_no_count_is_lost_when_many_come_at_once(dohost: IsolatedHost) -> None:
    counts = await asyncio.gather(*(text_of(dohost, "/visits/up") for _ in range(20)))
    assert sorted(map(int, counts)) == list(range(1, 21))


@limiter
async def test_a_limiter_lets_a_burst_through_and_then_one_a_second(dohost: IsolatedHost) -> None:
    async def statuses(times: int) -> list[int]:
        return [(await dohost.fetch("/")).status for _ in range(times)]

    assert await statuses(4) == [200, 200, 200, 429]
    assert (await dohost.fetch("/")).headers.get("Retry-After") == "1"
    await dohost.advance(1)
    assert await statuses(2) == [200, 429]
    await dohost.advance(10)
    assert await statuses(4) == [200, 200, 200, 429]


@limiter
async def test_a_limiter_that_nobody_uses_stores_nothing(dohost: IsolatedHost) -> None:
    stub = dohost.env.LIMITER.getByName("somebody")
    assert await stub.wait_ms() == 0

    async def stored() -> list[str]:
        return await dohost.run_in_object(
            stub, lambda instance, state: list(state.storage.kv.list())
        )

    assert len(await stored()) == 1
    await dohost.advance(4)
    assert await stored() == []


@ttl
async def test_a_note_lives_as_long_as_somebody_reads_it(dohost: IsolatedHost) -> None:
    await dohost.fetch("/list", method="PUT", body="milk")
    for _ in range(3):
        await dohost.advance(59)
        assert await text_of(dohost, "/list") == "milk"
    await dohost.advance(60)
    assert (await dohost.fetch("/list")).status == 404


@notes
async def test_notes_are_found_by_their_words(dohost: IsolatedHost) -> None:
    stub = dohost.env.NOTES.getByName("everybody's")
    assert await stub.add_all(NOTES) == [1, 2, 3]
    found = await (await dohost.fetch("/?q=run")).json()
    assert {each["id"] for each in found} == {1, 2}
    parts = {each["id"]: each["part"] for each in found}
    assert parts == {1: "The dog was [running] through the…", 2: "[Run] every day."}
    assert (await dohost.fetch("/2", method="DELETE")).status == 204
    assert (await dohost.fetch("/2", method="DELETE")).status == 404
    assert [each["id"] for each in await stub.search("run")] == [1]


@notes
async def test_notes_are_added_all_or_none(dohost: IsolatedHost) -> None:
    stub = dohost.env.NOTES.getByName("everybody's")
    with pytest.raises(JsException, match="CHECK constraint failed"):
        await stub.add_all([*NOTES, {"title": "", "body": "without a title"}])
    assert await stub.search("run OR sleep") == []
