"""The yardstick: the least that aiohttp's low-level server under uvloop can do for a request.

Run as a program with a port; answers everything with `hello`.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


async def hello(_: web.BaseRequest) -> web.StreamResponse:
    """Answer as the worker's hello does."""
    return web.Response(text="hello")


async def serve(port: int) -> None:
    """Serve until killed."""
    server = web.Server(hello, access_log=None)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
