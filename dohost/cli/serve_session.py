"""One run of `dohost serve`: code that does not load ends it, a signal ends it gracefully.

Unlike `dev` it shows no failure to a client, moves to no other port, fires crons, and does not begin
objects anew whose files are missing. The first SIGTERM or SIGINT drains; a second one ends the process
at once, which is safe because nothing is acknowledged before it is on the disk.
"""

from __future__ import annotations

import asyncio

import msgspec

from dohost.cli.assemble import Faces, running_server
from dohost.cli.dev_view import DevView
from dohost.cli.hosting import running_host
from dohost.cli.listening import listening_of
from dohost.cli.project import Project, source_root
from dohost.cli.server_options import Serving
from dohost.cli.stop_signals import on_stop_signal
from dohost.config import WorkerConfig
from dohost.dev.failures import Redactor
from dohost.runtime.host import HostOptions
from dohost.runtime.known_objects import MissingFiles


async def serve_until_stopped(
    project: Project, serving: Serving, *, trusted_proxies: tuple[str, ...], view: DevView
) -> int:
    """Serve until a signal. Raises: ConfigError, LoadFailed, DataDirLocked, CallerError."""
    loaded = project.read()
    workers = loaded.workers
    view.findings(loaded)
    view.describe_with(_redactor(workers), root=source_root(workers))
    options = HostOptions(
        persist=project.persist(loaded),
        is_strict=serving.is_strict,
        evict_after_s=serving.evict_after_s,
        history=serving.history,
        missing_files=MissingFiles.quarantine,
        log=view.log,
    )
    listening = msgspec.structs.replace(listening_of(loaded, serving), is_exact=True)
    faces = Faces(
        on_request=view.request if view.shows_requests else None,
        is_dev=False,
        trusted_proxies=trusted_proxies,
        metrics_to=serving.metrics_to,
    )
    async with running_host(options, hang_s=serving.hang_s) as host:
        await host.load(workers)
        async with running_server(host, listening, faces=faces, workers=lambda: workers) as running:
            stopped = asyncio.Event()
            with on_stop_signal(stopped.set):
                host.schedules.fire()
                view.ready(running.url, has_gateway=False)
                await stopped.wait()
            view.say("Stopping: no new connections; what was begun is finished.")
    return 0


def _redactor(workers: tuple[WorkerConfig, ...]) -> Redactor:
    return Redactor([value for each in workers for value in each.hidden_values()])
