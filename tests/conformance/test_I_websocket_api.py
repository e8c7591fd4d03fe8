"""I: what `ctx` and sockets refuse, in Cloudflare's words; and sockets between objects."""

from __future__ import annotations

import pytest

PROBE = """
from js import WebSocketPair, WebSocketRequestResponsePair
from pyodide.ffi import to_js

class Room(DurableObject):
    def accept(self, tags=None):
        self.client, server = WebSocketPair()
        self.ctx.acceptWebSocket(server, tags)
        return server

    def standard(self):
        self.client, server = WebSocketPair()
        server.accept()
        return server

    async def error(self, what):
        try:
            return await self.attempt(what)
        except Exception as error:
            return str(error)

    async def attempt(self, what):
        ctx = self.ctx
        match what:
            case "11 tags":
                self.accept([str(number) for number in range(11)])
            case "11 tags, 10 distinct":
                return len(ctx.getTags(self.accept(["0", *map(str, range(10))])))
            case "long tag":
                self.accept(["é" * 128 + "x"])
            case "longest tag":
                return len(ctx.getTags(self.accept(["é" * 128]))[0])
            case "tags that are no list":
                self.accept("abc")
            case "no socket":
                ctx.acceptWebSocket({})
            case "accepted twice":
                ctx.acceptWebSocket(self.accept())
            case "accepted, then hibernatable":
                ctx.acceptWebSocket(self.standard())
            case "hibernatable, then accepted":
                self.accept().accept()
            case "pair used":
                self.accept()
                ctx.acceptWebSocket(self.client)
            case "tags of an unaccepted":
                ctx.getTags(WebSocketPair()[1])
            case "tags of a standard":
                ctx.getTags(self.standard())
            case "attachment of 16385 bytes":
                self.accept().serializeAttachment("x" * 16380)
            case "attachment of a function":
                self.accept().serializeAttachment(lambda: None)
            case "no attachment":
                return self.accept().deserializeAttachment()
            case "long request":
                ctx.setWebSocketAutoResponse(WebSocketRequestResponsePair.new("x" * 2049, ""))
            case "long response":
                ctx.setWebSocketAutoResponse(WebSocketRequestResponsePair.new("", "é" * 1025))
            case "no pair":
                ctx.setWebSocketAutoResponse("ping")
            case "pair set and unset":
                ctx.setWebSocketAutoResponse(WebSocketRequestResponsePair("ping", "pong"))
                pair = ctx.getWebSocketAutoResponse()
                ctx.setWebSocketAutoResponse()
                return [pair.request, pair.response, ctx.getWebSocketAutoResponse()]
            case "never answered":
                return [ctx.getWebSocketAutoResponseTimestamp(self.accept()),
                        ctx.getWebSocketAutoResponseTimestamp(self.standard())]
            case "timeout above the limit":
                ctx.setHibernatableWebSocketEventTimeout(604_800_001)
            case "negative timeout":
                ctx.setHibernatableWebSocketEventTimeout(-1)
            case "timeouts":
                found = [ctx.getHibernatableWebSocketEventTimeout()]
                for each in (604_800_000, 100, 0, 5, None):
                    ctx.setHibernatableWebSocketEventTimeout(each)
                    found.append(ctx.getHibernatableWebSocketEventTimeout())
                return found
            case "send before accept":
                WebSocketPair()[0].send("x")
            case "send after close":
                ws = self.accept()
                ws.close()
                ws.close(1000)
                state = ws.readyState
                assert state == ws.CLOSING == ws.READY_STATE_CLOSING == 2
                ws.send("x")
            case "close 1005" | "close 1006" | "close 999" | "close 5000":
                self.accept().close(int(what[6:]))
            case "reason without a code":
                self.accept().close(None, "why")
            case "one socket too many":
                from dohost.runtime import hibernation
                hibernation.SOCKETS_MAX, kept = len(ctx.getWebSockets()), hibernation.SOCKETS_MAX
                try:
                    self.accept()
                finally:
                    hibernation.SOCKETS_MAX = kept

    async def lists(self):
        sockets = {"1": self.accept(["a"]), "2": self.accept(to_js(["a", "b"])),
                   "3": self.accept(("b", "b", "a")), "4": self.accept([]), "5": self.accept()}
        names = {ws: name for name, ws in sockets.items()}
        def found(tag=None):
            return "".join(names[ws] for ws in self.ctx.getWebSockets(tag))
        tags = [self.ctx.getTags(ws).to_py() for ws in sockets.values()]
        sockets["5"].close(1000)
        return [found(), found("a"), found("b"), found("zz"), tags, self.ctx.getWebSockets().length]
"""
ALREADY = (
    "Error: Cannot call `acceptWebSocket()` if the WebSocket was already accepted via `accept()`"
)
MISTYPED = (
    "TypeError: Failed to execute '{}' on 'DurableObjectState': parameter {} is not of type '{}'."
)
CODE = "InvalidAccessError: Invalid WebSocket close code: {}."

REFUSALS = {
    "11 tags": "Error: a Hibernatable WebSocket cannot have more than 10 tags",
    "11 tags, 10 distinct": 10,
    "long tag": f'Error: "{"é" * 128}x" is longer than the max tag length (256 characters).',
    "longest tag": 128,
    "tags that are no list": MISTYPED.format("acceptWebSocket", 2, "Array"),
    "no socket": MISTYPED.format("acceptWebSocket", 1, "WebSocket"),
    "accepted twice": ALREADY,
    "accepted, then hibernatable": ALREADY,
    "hibernatable, then accepted": "TypeError: Can't accept() WebSocket after enabling hibernation.",
    "pair used": "Error: Cannot call `acceptWebSocket()` on this WebSocket because its pair has already "
    "been accepted or used in a Response.",
    "tags of an unaccepted": "Error: you must call 'acceptWebSocket()' before attempting to access the "
    "tags of a WebSocket.",
    "tags of a standard": "Error: only hibernatable websockets can have tags.",
    "attachment of 16385 bytes": "Error: A WebSocket 'attachment' cannot be larger than 16384 bytes."
    "'attachment' was 16385 bytes.",
    "no attachment": None,
    "long request": "RangeError: Request cannot be larger than 2048 bytes. A request of size 2049 was "
    "provided.",
    "long response": "RangeError: Response cannot be larger than 2048 bytes. A response of size 2050 was "
    "provided.",
    "no pair": MISTYPED.format("setWebSocketAutoResponse", 1, "WebSocketRequestResponsePair"),
    "pair set and unset": ["ping", "pong", None],
    "never answered": [None, None],
    "timeout above the limit": "Error: Event timeout should not exceed 604800000 ms.",
    "negative timeout": "TypeError: The value cannot be converted because it is negative and this API "
    "expects a positive number.",
    "timeouts": [None, 604_800_000, 100, None, 5, None],
    "send before accept": "TypeError: You must call one of accept() or state.acceptWebSocket() on this "
    "WebSocket before sending messages.",
    "send after close": "TypeError: Can't call WebSocket send() after close().",
    "close 1005": CODE.format(1005),
    "close 1006": CODE.format(1006),
    "close 999": CODE.format(999),
    "close 5000": CODE.format(5000),
    "reason without a code": "InvalidAccessError: If you specify a WebSocket close reason, you must also "
    "specify a code.",
    "one socket too many": "Error: only 0 websockets can be accepted on a single Durable Object instance",
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_I12_I16_I19_I21_what_is_refused_and_how(bench, what) -> None:
    await bench.run(PROBE)
    assert await bench.stub(class_name="Room").error(what) == REFUSALS[what]


async def test_I13_what_can_not_be_copied_can_not_be_attached(bench) -> None:
    await bench.run(PROBE)
    assert "DataCloneError" in await bench.stub(class_name="Room").error("attachment of a function")


async def test_I11_sockets_are_listed_newest_first_and_by_tag_oldest_first(bench) -> None:
    await bench.run(PROBE)
    assert await bench.stub(class_name="Room").lists() == [
        "54321",
        "123",
        "23",
        "",
        [["a"], ["a", "b"], ["b", "a"], [], []],
        5,
    ]


async def test_objects_and_workers_may_be_clients(bench) -> None:
    await bench.run(
        """
        import asyncio
        from js import WebSocketPair

        class Client(DurableObject):
            async def talk(self):
                response = await self.env.ROOM.getByName("r").fetch(
                    "http://room/", headers={"Upgrade": "websocket"})
                ws, heard, closed = response.web_socket, [], asyncio.Event()
                async def on_message(event):
                    heard.append(event.data)
                    await self.ctx.storage.put("last", event.data)
                    ws.send(f"and {event.data}") if len(heard) < 3 else ws.close(4000, "enough")
                def on_close(event):
                    heard.append([event.code, event.reason, event.wasClean])
                    closed.set()
                ws.addEventListener("message", on_message)
                ws.addEventListener("close", on_close)
                ws.accept()
                ws.send("hello")
                await closed.wait()
                return [heard, await self.ctx.storage.get("last")]

        class Room(DurableObject):
            async def fetch(self, request):
                client, server = WebSocketPair()
                self.ctx.acceptWebSocket(server)
                return Response(None, status=101, web_socket=client)

            async def webSocketMessage(self, ws, message):
                await self.ctx.storage.put("message", message)
                ws.send(message)

            async def webSocketClose(self, ws, code, reason, was_clean):
                ws.close(code, "you too")

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                response = await self.env.ROOM.getByName("r").fetch(request)
                ws, heard = response.webSocket, asyncio.Queue()
                ws.accept()
                ws.addEventListener("message", lambda event: heard.put_nowait(event.data))
                ws.send("from a worker")
                return Response(await heard.get())
        """
    )
    assert await bench.stub(class_name="Client").talk() == [
        ["hello", "and hello", "and and hello", [4000, "you too", True]],
        "and and hello",
    ]
    assert await (await bench.get()).text() == "from a worker"


async def test_a_reset_object_breaks_its_sockets_to_others(bench) -> None:
    await bench.run(
        """
        import asyncio
        from js import WebSocketPair

        class Client(DurableObject):
            async def join(self):
                response = await self.env.ROOM.getByName("r").fetch("http://room/")
                self.ws, self.heard = response.web_socket, []
                self.ws.addEventListener("close", lambda event: self.heard.append(event.code))
                self.ws.accept()

            async def look(self):
                return self.heard

        class Room(DurableObject):
            async def fetch(self, request):
                client, server = WebSocketPair()
                self.ctx.acceptWebSocket(server)
                return Response(None, status=101, web_socket=client)

            async def reset(self):
                self.ctx.abort("R")
        """
    )
    client = bench.stub(class_name="Client")
    await client.join()
    assert bench.actor(class_name="Client")._holds == 1
    with pytest.raises(Exception, match="R"):
        await bench.stub("r", class_name="Room").reset()
    assert await client.look() == [1006]
    assert bench.actor(class_name="Client").evict_if_idle()
