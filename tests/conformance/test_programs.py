"""The example programs, tested as their authors would: with the fixture `dohost`."""

from __future__ import annotations

import asyncio

import pytest
from workers import Request, Response

from dohost.testing import IsolatedHost

batcher = pytest.mark.dohost(
    main="programs/alarm_batcher.py", vars={"RECEIVER": "https://receiver.example/batches"}
)
in_memory = pytest.mark.dohost(main="programs/in_memory_state.py")


class Receiver:
    """Takes batches; is down as long as it is told to be."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.is_down = False

    async def __call__(self, request: Request) -> Response:
        assert request.url == "https://receiver.example/batches"
        if self.is_down:
            return Response("later", status=503)
        self.batches.append((await request.text()).split("\n"))
        return Response("thanks")


async def post(dohost: IsolatedHost, item: str) -> str:
    response = await dohost.fetch("/", method="POST", body=item)
    assert response.status == 202
    return await response.text()


@batcher
async def test_items_leave_together_ten_seconds_after_the_first(dohost: IsolatedHost) -> None:
    receiver = dohost.internet = Receiver()
    assert await post(dohost, "apple") == "queued as 0\n"
    await dohost.advance(9)
    assert await post(dohost, "pear") == "queued as 1\n"
    await dohost.advance(1)
    assert receiver.batches == [["apple", "pear"]]
    await dohost.advance(60)
    assert receiver.batches == [["apple", "pear"]]


@batcher
async def test_nothing_is_lost_while_the_receiver_is_down(dohost: IsolatedHost) -> None:
    receiver = dohost.internet = Receiver()
    receiver.is_down = True
    await post(dohost, "apple")
    await dohost.advance(15)
    await dohost.restart()
    receiver.is_down = False
    await dohost.advance(60)
    assert receiver.batches == [["apple"]]


@batcher
async def test_what_comes_while_a_batch_is_out_is_in_the_next(dohost: IsolatedHost) -> None:
    receiver = Receiver()

    async def posting(request: Request) -> Response:
        if not receiver.batches:
            await post(dohost, "late")
        return await receiver(request)

    dohost.internet = posting
    await post(dohost, "early")
    await dohost.advance(10)
    assert receiver.batches == [["early"]]
    await dohost.advance(10)
    assert receiver.batches == [["early"], ["late"]]


@batcher
async def test_a_batch_of_any_size_is_forgotten_when_it_was_taken(dohost: IsolatedHost) -> None:
    receiver = dohost.internet = Receiver()
    await asyncio.gather(*[post(dohost, f"item {number}") for number in range(300)])
    await dohost.advance(10)
    assert [len(batch) for batch in receiver.batches] == [300]
    storage = dohost.storage(dohost.env.BATCHER.getByName("all"))
    assert await storage.list() == {"next": 300}


async def text(dohost: IsolatedHost, path: str) -> str:
    return await (await dohost.fetch(path)).text()


@in_memory
async def test_no_request_is_let_in_before_the_state_is_there(dohost: IsolatedHost) -> None:
    answers = await asyncio.gather(*[text(dohost, "/increment") for _ in range(5)])
    assert sorted(answers) == ["1", "2", "3", "4", "5"]


@in_memory
async def test_storage_is_read_once_in_a_life(dohost: IsolatedHost) -> None:
    counter = dohost.env.COUNTER.getByName("visits")
    await dohost.storage(counter).put("value", 41)
    await dohost.evict(counter)
    assert [await text(dohost, "/increment"), await text(dohost, "/decrement")] == ["42", "41"]
    assert await dohost.run_in_object(counter, lambda instance, state: instance.reads) == 1
    assert await dohost.storage(counter).get("value") == 41


@in_memory
async def test_other_paths_are_told_which_there_are(dohost: IsolatedHost) -> None:
    async with dohost.client() as http:
        response = await http.get("/reset")
        assert response.status == 404
        assert "/increment" in await response.text()
