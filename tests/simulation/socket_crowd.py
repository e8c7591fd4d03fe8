"""A server process for crowds of WebSockets: a thousand and more rooms behind a worker. `DIR`: where data is.

It prints its URL when it listens, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from dohost.clock import SystemClock
from dohost.config import DurableObjectBinding, WorkerConfig
from dohost.runtime.host import Host, HostOptions
from dohost.runtime.lock import LockInfo
from dohost.server.app import Server, ServerOptions
from dohost.telemetry import Log

PROGRAM = """
from workers import DurableObject, Response, WorkerEntrypoint
from js import WebSocketPair

class Room(DurableObject):
    async def fetch(self, request):
        client, server = WebSocketPair()
        self.ctx.acceptWebSocket(server, ["visitor"])
        server.serializeAttachment({"room": self.ctx.id.name})
        return Response(None, status=101, web_socket=client)

    async def webSocketMessage(self, ws, message):
        ws.send(f"{ws.deserializeAttachment().room} {message}")

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        path = request.url.split("/", 3)[3]
        if path == "live":
            return Response(str(self.env.ROOM._dispatcher.actors.__len__()))
        if not path:
            return Response("hello")
        return await self.env.ROOM.getByName(path).fetch(request)
"""


async def serve(directory: Path) -> None:
    main = directory / "entry.py"
    main.write_text(PROGRAM)
    config = WorkerConfig(
        name="crowd",
        main=main,
        config_path=directory / "wrangler.toml",
        durable_objects=(DurableObjectBinding(name="ROOM", class_name="Room"),),
        classes={"Room": "sqlite"},
    )
    log = Log(lambda event: print(event, file=sys.stderr))
    host = Host(HostOptions(persist=directory / "data", evict_after_s=0.5, log=log))
    await host.start(LockInfo(pid=0))
    await host.load((config,))
    server = Server(host.fetch, ServerOptions(port=0), clock=SystemClock(), log=log)
    print(await server.start(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    host.hang_up()
    await server.stop(5)
    await host.drain(grace_s=1)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1])))
