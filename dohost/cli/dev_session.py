"""One run of `dohost dev`: start, reload on change, stop.

Configuration errors at the start end the command, because nothing can be guessed then; wrong code does
not: the server answers with the error, and the next good save heals it. After the first load nothing
that is saved ends the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import webbrowser
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote_plus, urlsplit

import msgspec
from rich.text import Text
from workers.request import Request
from workers.response import Response

from dohost.cli.assemble import Faces, Running, running_server
from dohost.cli.dev_view import DevView
from dohost.cli.hosting import running_host
from dohost.cli.listening import listening_of
from dohost.cli.project import Project, source_root
from dohost.cli.server_options import Serving
from dohost.cli.stop_signals import on_stop_signal
from dohost.config import Loaded, WorkerConfig
from dohost.dev.error_page import ErrorPage
from dohost.dev.failures import Redactor
from dohost.dev.hotkeys import Hotkey, Keyboard, hotkey_box, is_interactive
from dohost.dev.reload import Reloader
from dohost.dev.watch import Watched, is_asset, watch, watched_by
from dohost.runtime.host import Host, HostOptions, LoadFailed

ASSETS_UPDATED = "⎔ Static assets updated"


class DevFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of the command."""

    serving: Serving
    is_watching: bool
    opens_browser: bool
    tests_scheduled: bool = False
    fires_crons: bool = False


async def serve(project: Project, flags: DevFlags, *, view: DevView) -> int:
    """Serve until a signal or a key ends it. Raises: ConfigError, DataDirLocked, CallerError."""
    loaded = project.read()
    serving = flags.serving
    listening = listening_of(loaded, serving)
    persist = project.persist(loaded)
    view.start(loaded)
    options = HostOptions(
        persist=persist,
        is_strict=serving.is_strict,
        evict_after_s=serving.evict_after_s,
        history=serving.history,
        log=view.log,
    )
    async with running_host(options, hang_s=serving.hang_s) as host:
        session = _Session(project, host, loaded=loaded, view=view)
        view.say("⎔ Starting local server...")
        await session.load_first()
        faces = Faces(
            on_request=view.request if view.shows_requests else None,
            error_page=session.error_page,
            tests_scheduled=flags.tests_scheduled,
            metrics_to=serving.metrics_to,
        )
        async with running_server(host, listening, faces=faces, workers=session.workers) as running:
            with on_stop_signal(session.stop):
                session.announce(running, opens_browser=flags.opens_browser)
                session.start_crons(running, fires=flags.fires_crons)
                with session.keyboard(running):
                    await session.run(data=persist if flags.is_watching else None)
            view.say("⎔ Shutting down local server...")
    return 0


class _Session:
    """What is loaded, and what happens to it until the end."""

    def __init__(self, project: Project, host: Host, *, loaded: Loaded, view: DevView) -> None:
        self._host = host
        self._view = view
        self._loaded = loaded
        self._changed = asyncio.Event()
        self._only_assets = True
        self._stopped = asyncio.Event()
        self._reloader = Reloader(
            project.read, self._apply, view=view, monotonic=host.options.clock.monotonic
        )
        self._describe(loaded)

    def workers(self) -> tuple[WorkerConfig, ...]:
        """Return the Workers that serve."""
        return self._loaded.workers

    def error_page(self, error: BaseException, request: Request) -> Response:
        """Answer a request that failed; the console shows why."""
        if not isinstance(error, LoadFailed):  # shown when it happened
            self._view.failed(error)
        return self._page(error, request)

    async def load_first(self) -> None:
        """Load the code; if it is wrong, the server starts all the same and says so."""
        try:
            await self._host.load(self._loaded.workers)
        except LoadFailed as error:
            self._view.failed(error)

    def announce(self, running: Running, *, opens_browser: bool) -> None:
        """Say where the server is."""
        url = shown_url(running.url)
        if running.moved_from is not None:
            self._view.say(f"Port {running.moved_from} is taken; using the next free one.")
        exposure = exposure_of(urlsplit(running.url).hostname or "")
        if exposure is not None:
            self._view.show("server.exposed", "warn", Text(exposure))
        self._view.ready(url, has_gateway="GATEWAY" in self._loaded.workers[0].vars)
        if opens_browser:
            webbrowser.open(url)

    def start_crons(self, running: Running, *, fires: bool) -> None:
        """Fire crons if that was asked for, else say how to run the handler by hand."""
        if fires:
            self._host.schedules.fire()
        elif any(worker.crons for worker in self._loaded.workers):
            cron = next(cron for worker in self._loaded.workers for cron in worker.crons)
            path = f"/cdn-cgi/local/scheduled?cron={quote_plus(cron)}"
            self._view.say(
                "Scheduled Workers are not automatically triggered during local development.\n"
                f'To run one:  curl "{shown_url(running.url)}{path}"   (or start with --fire-crons)'
            )

    @contextlib.contextmanager
    def keyboard(self, running: Running) -> Iterator[None]:
        """Listen for keys while somebody sits at the terminal."""
        if not is_interactive():
            yield
            return
        url = shown_url(running.url)
        hotkeys = (
            Hotkey(keys=("b",), label="open a browser", action=lambda: _open(url)),
            Hotkey(keys=("r",), label="reload", action=self._reload_now),
            Hotkey(keys=("c",), label="clear console", action=self._view.clear),
            Hotkey(keys=("x", "q"), label="exit", action=self.stop),
        )
        self._view.say(hotkey_box(hotkeys, width=shutil.get_terminal_size().columns))
        with Keyboard(hotkeys, loop=asyncio.get_running_loop()):
            yield

    async def run(self, *, data: Path | None) -> None:
        """Reload on each change until something stops it; `data` None: don't watch files."""
        tasks = [asyncio.create_task(self._reload_on_change(data), name="reload")]
        tasks.append(asyncio.create_task(self._wait_stopped(), name="stop"))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()

    async def _wait_stopped(self) -> None:
        await self._stopped.wait()

    async def _reload_on_change(self, data: Path | None) -> None:
        watched: Watched | None = None
        watcher: asyncio.Task[None] | None = None
        try:
            while True:
                wanted = None if data is None else watched_by(self._loaded, data=data)
                if wanted is not None and wanted != watched:
                    await _cancel(watcher)
                    watched = wanted
                    watcher = asyncio.create_task(
                        watch(wanted, partial(self._note, wanted)), name="watch"
                    )
                await self._changed.wait()
                self._changed.clear()
                only_assets, self._only_assets = self._only_assets, True
                if only_assets:
                    await self._host.refresh_assets()
                    self._view.say(ASSETS_UPDATED)
                else:
                    await self._reloader.reload()
        finally:
            await _cancel(watcher)

    def _note(self, watched: Watched, paths: frozenset[Path]) -> None:
        if not all(is_asset(path, watched) for path in paths):
            self._only_assets = False
        self._changed.set()

    def _reload_now(self) -> None:
        self._only_assets = False
        self._changed.set()

    async def _apply(self, loaded: Loaded) -> None:
        self._describe(loaded)
        await self._host.load(loaded.workers)
        self._loaded = loaded

    def _describe(self, loaded: Loaded) -> None:
        secrets = [value for worker in loaded.workers for value in worker.hidden_values()]
        root, redactor = source_root(loaded.workers), Redactor(secrets)
        self._page = ErrorPage(root=root, redactor=redactor)
        self._view.describe_with(redactor, root=root)


def exposure_of(ip: str) -> str | None:
    """Return the warning for an address at which not only this machine is answered."""
    try:
        if ip_address(ip).is_loopback:
            return None
    except ValueError:
        pass  # A name: nobody knows who can reach it.
    return (
        f"Listening on {ip}: everybody who can reach this address can use the program, and is shown its "
        "source and variables when it fails. To keep it to yourself: --ip 127.0.0.1"
    )


def shown_url(url: str) -> str:
    """Return the address as people type it."""
    return url.replace("//127.0.0.1:", "//localhost:").replace("//0.0.0.0:", "//localhost:")


def _open(url: str) -> None:
    webbrowser.open(url)


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
