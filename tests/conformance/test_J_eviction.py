"""J7, J8: when an idle instance ends, and what keeps it."""

from __future__ import annotations

import asyncio

from wire_bench import ROOM, until


async def test_J7_an_idle_instance_ends_after_10_seconds(wire) -> None:
    await wire.serve()
    await wire.room_stub().look()
    wire.pass_time(9)
    assert (await wire.room_stub().look())["instances"] == 1
    wire.pass_time(9)
    assert wire.room_actor() is not None
    wire.hibernate(1)
    assert (await wire.room_stub().look())["instances"] == 2


async def test_J7_without_eviction_an_instance_stays(wire) -> None:
    wire.evict_after_s = None
    wire.host = wire._new_host()
    await wire.serve()
    await wire.room_stub().look()
    wire.pass_time(100_000)
    assert (await wire.room_stub().look())["instances"] == 1


TICKING = (
    ROOM
    + """
    async def tick(self):
        self.ticking = asyncio.create_task(self.run())

    async def run(self):
        try:
            await asyncio.Event().wait()
        finally:
            Room.instances += 100

    async def stop(self):
        self.ticking.cancel()
"""
)


async def test_J8_a_timer_keeps_its_instance_until_it_is_cleared(wire) -> None:
    await wire.serve(TICKING)
    await wire.room_stub().tick()
    wire.pass_time(15)
    assert wire.room_actor() is not None
    await wire.room_stub().stop()
    await until(lambda: not wire.room_actor().turns)
    wire.hibernate()


async def test_J8_a_timer_that_is_never_cleared_keeps_no_unused_instance(wire) -> None:
    await wire.serve(TICKING)
    client = await wire.connect()
    wire.pass_time(50)
    await wire.room_stub().tick()
    await asyncio.sleep(0)
    wire.pass_time(69)
    assert wire.room_actor() is not None
    wire.hibernate(71)
    # Its sockets stay.
    await client.send_str("x")
    assert await client.receive_str() == "x"
    assert (await wire.room_stub().look())["instances"] == 103


async def test_J8_a_call_in_flight_keeps_its_instance_however_long(wire) -> None:
    await wire.serve(
        ROOM
        + """
    async def wait(self):
        self.event = asyncio.Event()
        await self.event.wait()
        return "done"

    async def go(self):
        self.event.set()
"""
    )
    waiting = asyncio.ensure_future(wire.room_stub().wait())
    await asyncio.sleep(0)
    for _ in range(4):
        wire.pass_time(71)
    await wire.room_stub().go()
    assert await waiting == "done"


async def test_a_standard_socket_keeps_its_instance_until_it_is_closed(wire) -> None:
    await wire.serve(
        """
        class Room(DurableObject):
            async def fetch(self, request):
                client, server = WebSocketPair()
                server.accept()
                server.addEventListener("message", lambda event: server.send(event.data))
                return Response(None, status=101, web_socket=client)
        """
    )
    for leave in ("close", "abort"):
        client, (_, writer) = await wire.connect(), await wire.connect_raw()
        wire.pass_time(1000)
        assert wire.room_actor() is not None
        await client.close()
        if leave == "close":
            writer.write(b"\x88\x80\0\0\0\0")
        writer.transport.abort()
        await until(lambda: wire.room_actor()._holds == 0)
        wire.hibernate()
