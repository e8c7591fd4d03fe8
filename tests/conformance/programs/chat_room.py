"""A chat room whose object sleeps while nobody talks.

Each room is one Durable Object. Its visitors' WebSockets stay open while the object is out of memory; a tag
finds the sockets of one visitor, an attachment remembers who is behind a socket, and pings are answered
without waking anybody.
"""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

from js import WebSocketPair, WebSocketRequestResponsePair
from pyodide.ffi import to_js
from workers import DurableObject, Response, WorkerEntrypoint

HISTORY_MAX = 20


class ChatRoom(DurableObject):
    """One room: who is in it is in its sockets, what was said is in its storage."""

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        # After a wake-up everything but storage and sockets is gone; the attachments say who is here.
        self.visitors = {
            ws: ws.deserializeAttachment().to_py()["name"] for ws in ctx.getWebSockets()
        }
        ctx.setWebSocketAutoResponse(WebSocketRequestResponsePair.new("ping", "pong"))

    async def fetch(self, request):
        if (request.headers.get("Upgrade") or "").lower() != "websocket":
            return Response("This room talks over WebSockets.", status=426)
        name = parse_qs(urlsplit(request.url).query).get("name", ["somebody"])[0]
        client, server = WebSocketPair.new().object_values()
        self.ctx.acceptWebSocket(server, to_js([f"name:{name}"]))
        server.serializeAttachment(to_js({"name": name}))
        for line in await self.ctx.storage.get("history") or []:
            server.send(line)
        self.visitors[server] = name
        self.broadcast({"joined": name}, but=server)
        return Response(None, status=101, web_socket=client)

    async def webSocketMessage(self, ws, message):
        name = self.visitors[ws]
        if message.startswith("/to "):
            _, whom, text = message.split(" ", 2)
            for other in self.ctx.getWebSockets(f"name:{whom}"):
                other.send(json.dumps({"from": name, "whispers": text}))
            return
        line = json.dumps({"from": name, "says": message})
        history = await self.ctx.storage.get("history") or []
        # Nobody sees a line that is not on the disk: frames wait for the write before them.
        await self.ctx.storage.put("history", [*history, line][-HISTORY_MAX:])
        for other in self.ctx.getWebSockets():
            other.send(line)

    async def webSocketClose(self, ws, code, reason, was_clean):
        self.leave(ws)
        ws.close(code, reason) if was_clean and code != 1005 else ws.close()

    async def webSocketError(self, ws, error):
        self.leave(ws)

    def leave(self, ws):
        self.broadcast({"left": self.visitors.pop(ws)}, but=ws)

    def broadcast(self, event, but):
        for ws in self.ctx.getWebSockets():
            if ws is not but:
                ws.send(json.dumps(event))


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        room = urlsplit(request.url).path.strip("/") or "lobby"
        return await self.env.ROOM.getByName(room).fetch(request)
