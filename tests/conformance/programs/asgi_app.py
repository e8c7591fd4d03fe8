"""An ASGI application behind an object: a notice board with pages, a live stream and a chat.

The application is plain ASGI, as any framework would be. Each board is an object with an application of
its own that keeps the notices in the object's storage.
"""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

from workers import DurableObject, Response, WorkerEntrypoint, asgi

JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


class BoardApplication:
    """Answers for one board."""

    def __init__(self, storage):
        self.storage = storage
        self.chatting = set()

    async def __call__(self, scope, receive, send):
        match scope["type"]:
            case "lifespan":
                await self.lifespan(scope, receive, send)
            case "websocket":
                await self.chat(receive, send)
            case "http":
                await self.answer(scope, receive, send)

    async def lifespan(self, scope, receive, send):
        while (message := await receive())["type"] == "lifespan.startup":
            scope["state"]["title"] = await self.storage.get("title") or "Notices"
            await send({"type": "lifespan.startup.complete"})
        assert message["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})

    async def answer(self, scope, receive, send):
        path = scope["path"].rstrip("/")
        if scope["method"] == "GET" and path.endswith("/stream"):
            await self.stream(send)
        elif scope["method"] == "GET":
            notices = list((await self.storage.list(prefix="notice:")).values())
            title = scope["state"]["title"]
            await reply(
                send, 200, {"title": title, "maker": scope["env"].MAKER, "notices": notices}
            )
        elif scope["method"] == "POST":
            await self.post(json.loads((await receive())["body"]), send)
        else:
            await reply(send, 405, {"error": f"no {scope['method']} here"})

    async def post(self, notice, send):
        number = (await self.storage.get("count") or 0) + 1
        await self.storage.put({"count": number, f"notice:{number:06d}": notice["text"]})
        for send_chat in self.chatting:
            await send_chat({"type": "websocket.send", "text": f"notice: {notice['text']}"})
        await reply(send, 201, {"number": number})

    async def stream(self, send):
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        for text in (await self.storage.list(prefix="notice:")).values():
            event = f"data: {text}\n\n".encode()
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})

    async def chat(self, receive, send):
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.connect":
                await send({"type": "websocket.accept"})
                self.chatting.add(send)
            else:
                for each in self.chatting:
                    await each({"type": "websocket.send", "text": message["text"]})
        self.chatting.discard(send)


async def reply(send, status, value):
    """Send a small JSON answer."""
    await send({"type": "http.response.start", "status": status, "headers": JSON})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


class Board(DurableObject):
    """One notice board."""

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.application = BoardApplication(ctx.storage)

    async def fetch(self, request):
        if (request.headers.get("upgrade") or "").lower() == "websocket":
            return await asgi.websocket(self.application, request, self.env)
        return await asgi.fetch(self.application, request, self.env, self.ctx)

    async def rename(self, title):
        await self.ctx.storage.put("title", title)


class Default(WorkerEntrypoint):
    """`/<board>` and `/<board>/stream`; the board's object does the rest."""

    async def fetch(self, request):
        name = urlsplit(request.url).path.split("/")[1]
        if not name:
            return Response("Which board?", status=404)
        return await self.env.BOARD.getByName(name).fetch(request)
