"""Putting host and server together, and taking them apart again in the right order.

Start: data directory, code, socket. A second process stops at the first step, a taken port at the
last one, and neither leaves anything behind. Stop: the server first, so that what it has begun still
finds the host; then the host, which gives the data directory free.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable

import msgspec
from workers.request import Request
from workers.response import Response

from dohost.cli.hosting import DRAIN_GRACE_S, inspector_of
from dohost.cli.listening import Listening
from dohost.cli.local_api import ObjectsApi
from dohost.config import WorkerConfig
from dohost.errors import CallerError, HostError
from dohost.runtime.host import Host
from dohost.runtime.lock import LockInfo
from dohost.server.app import RequestLine, Server, ServerOptions

PORTS_TRIED_MAX = 20
_TOKEN_BYTES = 24


class Faces(msgspec.Struct, frozen=True, kw_only=True):
    """What the server shows: request lines and error pages. `is_dev`: also what failed, to the client."""

    on_request: Callable[[RequestLine], None] | None
    error_page: Callable[[BaseException, Request], Response] | None = None
    is_dev: bool = True
    tests_scheduled: bool = False
    trusted_proxies: tuple[str, ...] = ()
    metrics_to: tuple[str, ...] = ()


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A host and the server in front of it. `moved_from`: the wanted port, if it was taken."""

    host: Host
    url: str
    moved_from: int | None = None


@contextlib.asynccontextmanager
async def running_server(
    host: Host,
    listening: Listening,
    *,
    faces: Faces,
    workers: Callable[[], tuple[WorkerConfig, ...]],
) -> AsyncIterator[Running]:
    """Serve `host`; `workers` are the ones that are loaded now. Raises: CallerError if the port is taken."""
    options = host.options
    token = options.entropy.token(_TOKEN_BYTES).hex()
    api = ObjectsApi(token, host, lambda: inspector_of(host, options.persist, workers()))
    server, url = await _listen(host, listening, faces=faces, api=api)
    host.describe(LockInfo(pid=os.getpid(), url=url, token=token))
    port = int(url.rpartition(":")[2])
    try:
        yield Running(
            host=host, url=url, moved_from=listening.port if port != listening.port else None
        )
    finally:
        # Before the clients can answer: an object must not wake to hear that its server stops.
        host.hang_up()
        server.begin_drain()
        await server.stop(DRAIN_GRACE_S)


async def _listen(
    host: Host, listening: Listening, *, faces: Faces, api: ObjectsApi
) -> tuple[Server, str]:
    for port in _ports(listening):
        server = Server(
            host.fetch,
            ServerOptions(
                ip=listening.ip,
                port=port,
                dev=faces.is_dev,
                tests_scheduled=faces.tests_scheduled,
                trusted_proxies=faces.trusted_proxies,
                metrics_to=faces.metrics_to,
                tls=listening.tls,
            ),
            clock=host.options.clock,
            log=host.options.log,
            entropy=host.options.entropy,
            on_request=faces.on_request,
            error_page=faces.error_page,
            local_api=api,
            new_context=host.new_context,
            compresses_sockets=host.compresses_sockets,
        )
        try:
            return server, await server.start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise HostError(
                    f"Can't listen on {listening.ip}:{port}: {error.strerror}"
                ) from error
            if listening.is_exact:
                raise CallerError(
                    f"Address already in use ({listening.ip}:{port}). Please check that you are not "
                    "already running a server on this address or specify a different port with --port."
                ) from error
    raise HostError(f"No free port on {listening.ip}.")


def _ports(listening: Listening) -> list[int]:
    """Return the ports to try: the wanted one, the next ones, and at last any free one."""
    if listening.is_exact:
        return [listening.port]
    last = min(listening.port + PORTS_TRIED_MAX, 65535)
    return [*range(listening.port, last + 1), 0]
