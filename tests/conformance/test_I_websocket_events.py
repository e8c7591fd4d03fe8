"""I: upgrades, messages, closes and errors, over the wire."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from wire_bench import ended, until

from dohost.errors import JsException

CHATTY = """
class Room(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.heard = []

    async def fetch(self, request):
        if (request.headers.get("upgrade") or "").lower() != "websocket":
            return Response("expected an upgrade", status=426)
        client, server = WebSocketPair.new().object_values()
        self.ctx.acceptWebSocket(server)
        return Response(None, status=101, web_socket=client)

    async def webSocketMessage(self, ws, message):
        if message == "boom":
            raise ValueError("boom")
        if message == "bye":
            return ws.close(1000, "closed by the room")
        if message == "slow":
            await asyncio.sleep(0.01)
        self.heard.append(type(message).__name__)
        ws.send(message)

    async def webSocketClose(self, ws, code, reason, was_clean):
        self.heard.append([code, reason, was_clean, ws.readyState, len(self.ctx.getWebSockets())])
        if reason == "later":
            await asyncio.sleep(0)
            self.heard.append(len(self.ctx.getWebSockets()))
        ws.close(4321, "KO")
        self.heard.append(ws.readyState)

    async def webSocketError(self, ws, error):
        self.heard.append([type(error).__name__, str(error)])
        raise RuntimeError("a failing error handler")

    async def look(self):
        return [self.heard, len(self.ctx.getWebSockets())]
"""

STANDARD = """
class Room(DurableObject):
    heard = []

    async def fetch(self, request):
        client, server = WebSocketPair()
        server.accept()

        def on_message(event):
            server.send(event.data.upper())

        async def on_close(event):
            Room.heard.append([event.code, event.reason, event.wasClean, server.readyState])
            server.close(1000, "regular close from DO")

        server.addEventListener("message", on_message)
        server.addEventListener("close", on_close)
        return Response(None, status=101, web_socket=client)

    async def look(self):
        return Room.heard
"""
OLD = {"compatibility_date": "2026-01-01"}


async def test_I1_an_upgrade_is_asked_for_or_refused(wire) -> None:
    await wire.serve(CHATTY)
    assert await wire.fetch_text() == (426, "expected an upgrade")
    client = await wire.connect()
    await client.send_str("x")
    assert await client.receive_str() == "x"


async def test_I2_a_standard_socket_talks_and_closes(wire) -> None:
    await wire.serve(STANDARD, **OLD)
    client = await wire.connect(autoclose=False)
    await client.send_str("hello")
    assert await client.receive_str() == "HELLO"
    await client.close(code=1000, message=b"bye")
    await until(lambda: bool(wire.room_actor().instance.heard))
    assert await wire.room_stub().look() == [[1000, "bye", True, 2]]


async def test_I2_a_program_of_before_the_date_answers_a_close_itself(wire) -> None:
    await wire.serve(STANDARD, **OLD)
    reader, writer = await wire.connect_raw()
    writer.write(b"\x88\x85\0\0\0\0\x03\xe8bye")
    assert await reader.readexactly(4) == b"\x88\x17\x03\xe8"
    assert await reader.read() == b"regular close from DO"
    writer.close()


async def test_I2_since_the_date_the_runtime_answers_before_the_event(wire) -> None:
    await wire.serve(STANDARD)
    reader, writer = await wire.connect_raw()
    writer.write(b"\x88\x85\0\0\0\0\x0f\xa0bye")
    assert await reader.read() == b"\x88\x05\x0f\xa0bye"
    writer.close()
    assert await wire.room_stub().look() == [[4000, "bye", True, 3]]


async def test_I3_a_hibernatable_socket_talks_and_closes(wire) -> None:
    await wire.serve(CHATTY)
    client = await wire.connect()
    await client.send_str("hello")
    assert await client.receive_str() == "hello"
    await client.send_str("bye")
    message = await client.receive()
    assert (message.type, message.data, message.extra) == (
        aiohttp.WSMsgType.CLOSE,
        1000,
        "closed by the room",
    )
    other = await wire.connect()
    await other.close(code=4000, message=b"enough")
    await until(lambda: len(wire.room_actor().instance.heard) == 5)
    heard, sockets = await wire.room_stub().look()
    # The first client's answer to the room's close, then the second client's own.
    assert heard[1:] == [[1000, "", True, 3, 1], 3, [4000, "enough", True, 2, 1], 3]
    assert sockets == 0


async def test_I4_a_handler_that_raises_declines_the_upgrade(wire) -> None:
    await wire.serve(
        """
        class Room(DurableObject):
            async def fetch(self, request):
                raise ValueError("no")
        """
    )
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await wire.connect()
    assert caught.value.status == 500


async def test_I8_a_client_that_drops_is_1006_once(wire) -> None:
    await wire.serve(CHATTY)
    _, writer = await wire.connect_raw()
    writer.transport.abort()
    await until(lambda: bool(wire.room_actor().instance.heard))
    async with asyncio.timeout(10):
        while (seen := await wire.room_stub().look())[1]:
            await asyncio.sleep(0)
    reason = "WebSocket disconnected without sending Close frame."
    assert seen[0] == [[1006, reason, False, 2, 1], 3]


async def test_I9_codes_and_reasons_pass_both_ways(wire) -> None:
    await wire.serve(CHATTY)
    reader, writer = await wire.connect_raw()
    writer.write(b"\x88\x84\0\0\0\0\x04\xd2OK")
    assert await reader.read() == b"\x88\x04\x10\xe1KO"
    writer.close()
    assert await wire.room_stub().look() == [[[1234, "OK", True, 2, 1], 3], 0]


@pytest.mark.parametrize(("options", "answers"), [({}, True), (OLD, False)])
async def test_I9_since_the_date_an_unanswered_close_is_answered(wire, options, answers) -> None:
    await wire.serve(**options)
    reader, writer = await wire.connect_raw()
    writer.write(b"\x88\x84\0\0\0\0\x0f\xa0OK")
    await until(lambda: bool(wire.room_actor().instance.heard))
    if not answers:
        # The server answers for the program when its patience is over.
        wire.clock.advance(10)
        wire._server._listener.sweep()
    assert await reader.read() == (b"\x88\x04\x0f\xa0OK" if answers else b"\x88\x02\x0f\xa0")
    writer.close()


async def test_I9_a_socket_leaves_the_list_when_its_handler_has_begun(wire) -> None:
    await wire.serve(CHATTY)
    reader, writer = await wire.connect_raw()
    writer.write(b"\x88\x87\0\0\0\0\x03\xe8later")
    assert await reader.read() == b"\x88\x04\x10\xe1KO"
    writer.close()
    assert await wire.room_stub().look() == [[[1000, "later", True, 2, 1], 0, 3], 0]


async def test_I10_binary_arrives_as_bytes_both_ways(wire) -> None:
    await wire.serve(CHATTY)
    client = await wire.connect()
    data = bytes(range(256)) * 500
    await client.send_bytes(data)
    assert await client.receive_bytes() == data
    assert await wire.room_stub().look() == [["ArrayBuffer"], 1]


async def test_I17_a_handler_that_raises_leaves_every_socket_open(wire) -> None:
    await wire.serve(CHATTY)
    first, second = await wire.connect(), await wire.connect()
    await first.send_str("boom")
    for client in (first, second):
        await client.send_str("still here")
        assert await client.receive_str() == "still here"
    failures = [event for event in wire.events if event.name == "object.websocket_event_failed"]
    assert "boom" in failures[0].fields["error"]


async def test_I17_events_of_a_socket_begin_in_order_and_may_overlap(wire) -> None:
    await wire.serve(CHATTY)
    client = await wire.connect()
    await client.send_str("slow")
    await client.send_str("fast")
    assert [await client.receive_str() for _ in range(2)] == ["fast", "slow"]


async def test_I18_a_socket_whose_last_event_fails_is_listed_no_more(wire) -> None:
    await wire.serve(CHATTY)
    reader, writer = await wire.connect_raw()
    writer.write(b"\x83\x80\0\0\0\0")
    assert await reader.read() == b"\x88\x12\x03\xeaUnknown opcode 3"
    writer.close()
    await until(lambda: bool(wire.room_actor().instance.heard))
    error = (
        "Error: WebSocket protocol error; protocolError.statusCode = 1002; "
        "protocolError.description = Unknown opcode 3"
    )
    assert await wire.room_stub().look() == [[["JsException", error]], 0]
    assert any(event.name == "object.websocket_event_failed" for event in wire.events)


async def test_I23_the_example_of_cloudflares_documentation_runs(wire) -> None:
    await wire.serve(
        """
        class Room(DurableObject):
            async def fetch(self, request):
                client, server = WebSocketPair.new().object_values()
                self.ctx.acceptWebSocket(server)
                return Response(None, status=101, web_socket=client)

            async def webSocketMessage(self, ws, message):
                ws.send("hello")
        """
    )
    client = await wire.connect()
    await client.send_str("anything")
    assert await client.receive_str() == "hello"
    await client.close(code=1000)
    assert await ended(client) == 1000


async def test_C1_a_call_to_a_handler_is_refused(wire) -> None:
    await wire.serve(CHATTY)
    with pytest.raises(JsException, match="reserved method"):
        await wire.room_stub().webSocketMessage(None, "x")


@pytest.mark.parametrize(
    ("options", "is_compressed"),
    [
        ({"compatibility_date": "2023-08-14"}, False),
        ({"compatibility_date": "2023-08-15"}, True),
        ({"compatibility_flags": frozenset({"no_web_socket_compression"})}, False),
        (
            {
                "compatibility_date": "2023-08-14",
                "compatibility_flags": frozenset({"web_socket_compression"}),
            },
            True,
        ),
    ],
)
async def test_messages_are_compressed_by_the_compatibility_flag(
    wire, options: dict[str, object], *, is_compressed: bool
) -> None:
    await wire.serve(CHATTY, **options)
    client = await wire.connect(compress=15)
    assert bool(client.compress) == is_compressed
    for text in ("short", "long " * 1000):
        await client.send_str(text)
        assert await client.receive_str() == text
