"""I, C, G, J13: sockets that outlive their instances."""

from __future__ import annotations

import asyncio

import pytest
from wire_bench import ROOM, ended, until

from dohost.errors import JsException
from dohost.gates import Batch

AUTO = """
class Room(DurableObject):
    instances = 0

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        Room.instances += 1
        self.heard = []

    async def fetch(self, request):
        client, server = WebSocketPair()
        self.ctx.acceptWebSocket(server)
        self.ctx.setWebSocketAutoResponse(WebSocketRequestResponsePair.new("ping", "pong"))
        return Response(None, status=101, web_socket=client)

    async def webSocketMessage(self, ws, message):
        self.heard.append(message)
        if message == "store":
            await self.ctx.storage.put("key", "value")
            ws.send("stored")
        elif message == "store and close":
            await self.ctx.storage.put("key", "value")
            ws.close(1000, "stored")
        else:
            ws.send(f"handled {message}")

    async def look(self):
        (ws,) = self.ctx.getWebSockets()
        at = self.ctx.getWebSocketAutoResponseTimestamp(ws)
        return {"heard": self.heard, "instances": Room.instances,
                "at": None if at is None else at.getTime()}
"""


async def test_I5_a_call_wakes_an_object_that_still_has_its_sockets(wire) -> None:
    await wire.serve(
        """
        class Room(DurableObject):
            def __init__(self, ctx, env):
                super().__init__(ctx, env)
                self.counter = 0

            async def fetch(self, request):
                client, server = WebSocketPair()
                self.ctx.acceptWebSocket(server)
                server.note = "lost"
                return Response(None, status=101, web_socket=client)

            async def send(self):
                self.counter += 1
                (ws,) = self.ctx.getWebSockets()
                same = ws is self.ctx.getWebSockets()[0]
                ws.send(f"{self.counter} {same} {getattr(ws, 'note', None)}")
        """
    )
    client = await wire.connect()
    for expected in ("1 True lost", "2 True lost"):
        await wire.room_stub().send()
        assert await client.receive_str() == expected
    wire.hibernate()
    await wire.room_stub().send()
    assert await client.receive_str() == "1 True None"


async def test_I6_a_message_wakes_an_object_constructor_first(wire) -> None:
    await wire.serve()
    client = await wire.connect()
    await client.send_str("one")
    assert await client.receive_str() == "one"
    wire.hibernate()
    await client.send_str("two")
    assert await client.receive_str() == "two"
    assert await wire.room_stub().look() == {"heard": ["two"], "instances": 2, "sockets": 1}


async def test_I6_a_close_wakes_an_object_too(wire) -> None:
    await wire.serve()
    client = await wire.connect()
    wire.hibernate()
    await client.close(code=4000, message=b"bye")
    await until(lambda: wire.room_actor() is not None)
    look = await wire.room_stub().look()
    assert (look["heard"], look["sockets"]) == ([[4000, "bye", True]], 0)
    assert wire.host.classes["app-Room"].hibernations != {}
    wire.hibernate()
    assert wire.host.classes["app-Room"].hibernations == {}


ABORTING = (
    ROOM
    + """
    async def reset(self, how):
        await self.ctx.storage.setAlarm(4102444800000)
        if how == "abort":
            await self.ctx.storage.sync()
            self.ctx.abort("R")
        async def fail():
            raise ValueError("section")
        await self.ctx.blockConcurrencyWhile(fail)

    async def due(self):
        return await self.ctx.storage.getAlarm()

    async def alarm(self):
        pass
"""
)


@pytest.mark.parametrize("is_hibernated", [False, True])
async def test_I7_an_abort_breaks_sockets_hibernated_or_not(wire, is_hibernated) -> None:
    await wire.serve(ABORTING)
    client, (reader, writer) = await wire.connect(), await wire.connect_raw()
    if is_hibernated:
        wire.hibernate()
    with pytest.raises(JsException, match="R"):
        await wire.room_stub().reset("abort")
    assert await ended(client) == 1006
    assert await reader.read() == b""
    writer.close()
    look = await wire.room_stub().look()
    assert (look["heard"], look["sockets"]) == ([], 0)


async def test_C10_a_reset_keeps_the_alarm_and_breaks_the_sockets(wire) -> None:
    await wire.serve(ABORTING)
    client = await wire.connect()
    with pytest.raises(JsException, match="R"):
        await wire.room_stub().reset("abort")
    assert await ended(client) == 1006
    assert await wire.room_stub().due() == 4102444800000


async def test_I13_tags_and_attachments_survive_hibernation(wire) -> None:
    await wire.serve(
        ROOM
        + """
    async def attach(self):
        for ws in self.ctx.getWebSockets("named"):
            ws.serializeAttachment({"name": "ada", "seen": [1, b"raw"]})

    async def attachments(self):
        found = []
        for ws in self.ctx.getWebSockets():
            value = ws.deserializeAttachment()
            found.append([self.ctx.getTags(ws).to_py(), value and value.to_py()])
        return found
"""
    )
    clients = [await wire.connect("/a/?tag=named&tag=x"), await wire.connect("/a/")]
    await wire.room_stub().attach()
    wire.hibernate()
    first, second = await wire.room_stub().attachments()
    assert first == [[], None]
    assert (second[0], second[1]["name"], second[1]["seen"][0]) == (["named", "x"], "ada", 1)
    assert bytes(second[1]["seen"][1]) == b"raw"
    assert not any(client.closed for client in clients)


async def test_I14_the_automatic_answer_wakes_nobody(wire) -> None:
    await wire.serve(AUTO)
    client = await wire.connect()
    await client.send_str("ping")
    assert await client.receive_str() == "pong"
    wire.hibernate()
    await client.send_str("ping")
    assert await client.receive_str() == "pong"
    assert wire.room_actor() is None
    answered_ms = wire.clock.realtime_ns() // 1_000_000
    wire.clock.advance(5)
    await client.send_str("ping!")
    assert await client.receive_str() == "handled ping!"
    await client.send_bytes(b"ping")
    assert await client.receive_str() == "handled b'ping'"
    assert await wire.room_stub().look() == {
        "heard": ["ping!", b"ping"],
        "instances": 2,
        "at": answered_ms,
    }


async def test_I15_G15_frames_wait_for_writes_and_automatic_answers_do_not(
    wire, monkeypatch
) -> None:
    await wire.serve(AUTO)
    client, other = await wire.connect(), await wire.connect()
    held: list[Batch] = []
    monkeypatch.setattr(Batch, "finish", lambda batch, error: held.append(batch))
    await client.send_str("store")
    await until(lambda: bool(held))
    await client.send_str("ping")
    await other.send_str("ping")
    # Not delayed by another socket's frames; in order behind its own.
    assert await other.receive_str() == "pong"
    with pytest.raises(TimeoutError):
        await client.receive(timeout=0.02)
    monkeypatch.undo()
    for batch in held:
        batch.finish(None)
    assert await client.receive_str() == "stored"
    assert await client.receive_str() == "pong"


async def test_G15_a_close_waits_for_writes_and_never_leaves_if_they_fail(
    wire, monkeypatch
) -> None:
    await wire.serve(AUTO)
    reader, writer = await wire.connect_raw()
    monkeypatch.setattr(
        "dohost.storage.database.Database.sync", lambda self: (_ for _ in ()).throw(OSError("disk"))
    )
    message = b"store and close"
    writer.write(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
    # The connection breaks without a Close: the client can't take the write for done.
    assert await reader.read() == b""
    writer.close()


async def test_I20_what_a_failing_constructor_sends_is_not_delivered(wire) -> None:
    await wire.serve(
        ROOM
        + """
    how = "well"

class Default(Default):
    async def fetch(self, request):
        if "/set/" in request.url:
            Room.how = request.url.rpartition("/")[2]
            return Response("set")
        return await super().fetch(request)

class Room(Room):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        for ws in ctx.getWebSockets():
            ws.send("from the constructor")
        if Room.how == "throw":
            raise ValueError("constructor")
        async def section():
            await asyncio.sleep(0.001)
            for ws in ctx.getWebSockets():
                ws.send("from the section")
            if Room.how == "section":
                raise ValueError("section")
        ctx.blockConcurrencyWhile(section)
"""
    )
    for how in ("throw", "section"):
        reader, writer = await wire.connect_raw()
        wire.hibernate()
        await wire.fetch_text(f"/set/{how}")
        with pytest.raises(JsException):
            await wire.room_stub().look()
        assert await reader.read() == b""
        writer.close()
        await wire.fetch_text("/set/well")
    client = await wire.connect()
    wire.hibernate()
    await client.send_str("hello")
    heard = [await client.receive_str() for _ in range(3)]
    assert heard == ["from the constructor", "from the section", "hello"]


async def test_I21_a_handler_above_the_event_timeout_is_cancelled(wire) -> None:
    await wire.serve(
        """
        class Room(DurableObject):
            def __init__(self, ctx, env):
                super().__init__(ctx, env)
                self.heard = []

            async def fetch(self, request):
                client, server = WebSocketPair()
                self.ctx.acceptWebSocket(server)
                self.ctx.setHibernatableWebSocketEventTimeout(10)
                return Response(None, status=101, web_socket=client)

            async def webSocketMessage(self, ws, message):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    ws.send("cancelled")
                    raise
        """
    )
    client = await wire.connect()
    for is_hibernated in (False, True):
        if is_hibernated:
            wire.hibernate()
        await client.send_str("x")
        assert await client.receive_str() == "cancelled"
        await until(lambda: not wire.room_actor().turns)


async def test_I22_an_eviction_keeps_sockets_or_closes_them(wire) -> None:
    await wire.serve()
    client = await wire.connect()
    assert wire.room_actor().evict_if_idle()
    await client.send_str("still here")
    assert await client.receive_str() == "still here"
    assert wire.room_actor().evict_if_idle()
    wire.host.hang_up()
    message = await client.receive()
    assert (message.data, message.extra) == (1001, "server is stopping")
    assert await ended(client) == 1001
    assert wire.room_actor() is None


async def test_I24_racing_upgrades_to_a_cold_object_still_hibernate(wire) -> None:
    await wire.serve()
    first, second = await asyncio.gather(wire.connect(), wire.connect())
    wire.hibernate()
    for client in (first, second):
        await client.send_str("x")
        assert await client.receive_str() == "x"
    assert (await wire.room_stub().look())["instances"] == 2


async def test_I25_J13_new_code_closes_every_socket_and_keeps_the_data(wire) -> None:
    standard = """
class Room(DurableObject):
    async def fetch(self, request):
        await self.ctx.storage.put("key", "kept")
        client, server = WebSocketPair()
        if "/std" in request.url:
            server.accept()
        else:
            self.ctx.acceptWebSocket(server)
        return Response(None, status=101, web_socket=client)
"""
    await wire.serve(standard)
    hibernated = await wire.connect("/b/")
    wire.pass_time(10)
    clients = [hibernated, await wire.connect("/a/"), await wire.connect("/a/std")]
    await wire.host.load(
        (
            wire.room(
                standard
                + "\n    async def look(self):\n        return await self.ctx.storage.get('key')\n"
            ),
        )
    )
    for client in clients:
        message = await client.receive(timeout=10)
        assert (message.data, message.extra) == (
            1012,
            "Durable Object reset because its code was updated.",
        )
    assert await wire.room_stub("a").look() == "kept"
    assert await wire.room_stub("b").look() == "kept"


async def test_a_client_that_leaves_during_the_upgrade_leaves_no_socket(wire) -> None:
    await wire.serve(
        ROOM.replace(
            "        return Response(None, status=101",
            "        await self.ctx.blockConcurrencyWhile(lambda: asyncio.sleep(0.01))\n"
            "        return Response(None, status=101",
        )
    )
    port = int(wire.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /a/ HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await until(lambda: wire.room_actor() is not None)
    writer.transport.abort()
    await until(lambda: bool(wire.room_actor().instance.heard))
    look = await wire.room_stub().look()
    assert (look["heard"][0][0], look["sockets"]) == (1006, 0)
