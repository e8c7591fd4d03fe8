"""The program with an ASGI application behind an object, as it stands."""

from __future__ import annotations

import pytest

from dohost.testing import IsolatedHost

pytestmark = pytest.mark.dohost(main="programs/asgi_app.py", vars={"MAKER": "us"})


async def post(dohost: IsolatedHost, board: str, text: str) -> int:
    response = await dohost.fetch(f"http://x/{board}", method="POST", body=f'{{"text": "{text}"}}')
    assert response.status == 201
    return (await response.json())["number"]


async def test_notices_are_kept_by_board(dohost: IsolatedHost) -> None:
    assert [await post(dohost, "hall", text) for text in ("one", "two")] == [1, 2]
    assert await post(dohost, "yard", "other") == 1
    await dohost.env.BOARD.getByName("hall").rename("Hall")
    await dohost.evict_all()
    hall = await (await dohost.fetch("http://x/hall")).json()
    assert hall == {"title": "Hall", "maker": "us", "notices": ["one", "two"]}
    yard = await (await dohost.fetch("http://x/yard/")).json()
    assert (yard["title"], yard["notices"]) == ("Notices", ["other"])
    assert (await dohost.fetch("http://x/hall", method="PUT")).status == 405
    assert (await dohost.fetch("http://x/")).status == 404


async def test_a_stream_comes_event_by_event_over_a_real_connection(dohost: IsolatedHost) -> None:
    for text in ("one", "two"):
        await post(dohost, "hall", text)
    async with dohost.client() as client, client.get("/hall/stream") as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert await response.text() == "data: one\n\ndata: two\n\n"


async def test_a_chat_hears_what_is_said_and_what_is_posted(dohost: IsolatedHost) -> None:
    async with dohost.client() as client, client.ws_connect("/hall") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await post(dohost, "hall", "news")
        assert await socket.receive_str() == "notice: news"
