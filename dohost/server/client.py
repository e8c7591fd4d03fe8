"""Clients for tests: aiohttp's own, joined to a server in this process.

`in_memory_session` needs no listening socket: each connection is a pair of connected sockets, one end
for aiohttp's client and one for the server, so everything between them is as in production, down to the
bytes. `AppServer` is what the fixtures of pytest-aiohttp take.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from aiohttp.test_utils import BaseTestServer

from dohost.server.listener import Listener

if TYPE_CHECKING:
    from aiohttp.tracing import Trace


class _PairConnector(aiohttp.BaseConnector):
    """Connects to one listener, whatever the URL names."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        await loop.connect_accepted_socket(self._listener, theirs)
        _, protocol = await loop.create_connection(self._factory, sock=ours)
        return protocol


def in_memory_session(listener: Listener, base_url: str) -> aiohttp.ClientSession:
    """Return a session whose requests reach `listener`; relative URLs are under `base_url`."""
    return aiohttp.ClientSession(base_url, connector=_PairConnector(listener))


class AppServer(BaseTestServer):
    """A server under the test's control, as `aiohttp_client(...)` takes it."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener

    async def _make_runner(self, **options: object) -> web.ServerRunner:
        return web.ServerRunner(self._listener)
