"""Everything that `dohost dev` says while it runs, as text or, with --json-logs, as one event per line.

Levels are wrangler's: `log` (its default) shows requests as `info` does. Worker code's own prints don't
pass here.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dohost import __version__
from dohost.cli.console import PREFIX, block
from dohost.config import Loaded
from dohost.dev.banner import binding_rows, bindings_text, links_text, title_text
from dohost.dev.failures import Redactor, describe, failure_text
from dohost.dev.request_lines import request_text
from dohost.errors import ConfigError, UserCodeError
from dohost.server.app import RequestLine
from dohost.server.local_api import API_PREFIX
from dohost.telemetry import LEVELS, Event, Level, Log, Sink, at_least, json_lines

LOG_LEVELS = ("debug", "info", "log", "warn", "error", "none")
# `failed` has shown the same error with its source, where the error page was made.
_SHOWN_WITH_SOURCE = "server.request_failed"
_STYLES = {"debug": "dim", "info": "", "log": "", "warn": "yellow", "error": "bold red"}

GATEWAY_PAGES = (("Overview", "/"), ("API docs", "/docs"), ("GraphQL", "/graphql"))


class DevView:
    """The console of one `dohost dev`. `show` takes an event name, a level and the text for people."""

    def __init__(self, console: Console, *, log_level: str, is_json: bool) -> None:
        self._console = console
        self._is_json = is_json
        self._threshold: Level | None = _threshold(log_level)
        self._root = Path()
        self._redactor = Redactor()
        self._said: frozenset[str] = frozenset()
        self.log = Log(self._sink(log_level))

    def describe_with(self, redactor: Redactor, *, root: Path) -> None:
        """Show failures from now on relative to `root`, without these secrets."""
        self._redactor = redactor
        self._root = root

    def start(self, loaded: Loaded) -> None:
        """Show the banner: notes, warnings and the bindings of every Worker."""
        if self._is_json:
            self.findings(loaded)
            return
        self._say("info", title_text(__version__))
        self.findings(loaded)
        running = {worker.name for worker in loaded.workers}
        for worker in loaded.workers:
            if len(loaded.workers) > 1:
                self._say("info", Text(f"{worker.name}:", "bold"))
            self._say("info", bindings_text(binding_rows(worker, running=running)))

    def findings(self, loaded: Loaded) -> None:
        """Show notes and warnings of the configuration that have not been shown already."""
        for note in [note for note in loaded.notes if note not in self._said]:
            self.show("config.note", "info", Text(note))
        warnings = [warning for warning in loaded.warnings if warning not in self._said]
        if warnings:
            text = block("WARNING", "Processing configuration:", warnings)
            self.show("config.warnings", "warn", text)
        self._said = frozenset((*loaded.notes, *loaded.warnings))

    @property
    def shows_requests(self) -> bool:
        """Whether a line per request is wanted at all; to measure one costs more than to answer some."""
        return self._shows("info")

    def request(self, line: RequestLine) -> None:
        """Show one answered request; not those of our own command line."""
        if line.path.startswith(API_PREFIX):
            return
        if self._is_json:
            self.log.event(
                "request",
                method=line.method,
                path=line.path.partition("?")[0],
                status=line.status,
                duration_ms=round(line.duration_ms, 1),
            )
        elif self._shows("info"):
            self._console.print(
                request_text(
                    line.method, line.path, status=line.status, duration_ms=line.duration_ms
                )
            )

    def say(self, text: str) -> None:
        """Show one plain line about the server."""
        self.show("server", "info", Text(text))

    def ready(self, url: str, *, has_gateway: bool) -> None:
        """Show where the server listens and, of a gateway, the pages to begin with."""
        self.show("server.ready", "info", Text.assemble((PREFIX, "dim"), f" Ready on {url}"))
        if has_gateway:
            links = [(label, f"{url}{path}") for label, path in GATEWAY_PAGES]
            self.show("server.pages", "info", links_text(links))

    def reloading(self) -> None:
        """A reload begins."""
        self.say("⎔ Reloading local server...")

    def reloaded(self, loaded: Loaded, *, duration_ms: float) -> None:
        """New code serves."""
        self.findings(loaded)
        self.say(f"⎔ Local server updated and ready ({duration_ms:.0f}ms)")

    def reload_failed(self, error: ConfigError | UserCodeError) -> None:
        """The code of before goes on."""
        self.failed(error)
        self.say("The code of before keeps serving; the next good save replaces it.")

    def failed(self, error: BaseException) -> None:
        """Show an error with its source."""
        failure = describe(error, root=self._root, redactor=self._redactor)
        first, _, rest = failure_text(failure).partition("\n")
        text = Text.assemble(("✘ [ERROR] ", "bold red"), first, "\n", rest)
        self.show("error", "error", text)

    def clear(self) -> None:
        """Empty the screen."""
        self._console.clear()

    def show(self, name: str, level: Level, text: Text) -> None:
        """Show one thing, or write it as an event."""
        if self._is_json:
            self.log.event(name, level=level, message=text.plain.strip())
        else:
            self._say(level, text)

    def _say(self, level: Level, text: Text) -> None:
        if self._shows(level):
            self._console.print(text)

    def _shows(self, level: Level) -> bool:
        return self._threshold is not None and LEVELS.index(level) >= LEVELS.index(self._threshold)

    def _sink(self, log_level: str) -> Sink:
        threshold = _threshold(log_level)
        if threshold is None:
            return lambda event: None
        return at_least(threshold, json_lines(sys.stderr) if self._is_json else self._print_event)

    def _print_event(self, event: Event) -> None:
        if event.name == _SHOWN_WITH_SOURCE:
            return
        fields = " ".join(f"{name}={value}" for name, value in event.fields.items())
        text = self._redactor.text(f"{PREFIX} {event.name} {fields}")
        self._console.print(Text(text.rstrip(), _STYLES[event.level]))


def _threshold(log_level: str) -> Level | None:
    """Return the lowest level that is shown; wrangler's `log` is as talkative as its `info`."""
    match log_level:
        case "none":
            return None
        case "debug" | "warn" | "error":
            return log_level
        case _:
            return "info"
