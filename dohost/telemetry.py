"""Events, not sentences: what happened, with fields, once per failure, where it is handled.

A `Log` gives each event to its sink and knows nothing about where events go; the command line
installs a printer, tests install a list. Values of fields must be safe to show: no secrets, no bodies.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Literal, TextIO

import msgspec

Level = Literal["debug", "info", "log", "warn", "error"]
LEVELS: tuple[Level, ...] = ("debug", "info", "log", "warn", "error")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened: a dotted name, its severity and its facts."""

    name: str
    level: Level
    fields: Mapping[str, object]


Sink = Callable[[Event], None]


class Log:
    """Gives events to one sink."""

    __slots__ = ("_sink",)

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def event(self, name: str, *, level: Level = "info", **fields: object) -> None:
        """Record one event; never raises for the content of `fields`."""
        self._sink(Event(name=name, level=level, fields=fields))


def json_lines(stream: TextIO) -> Sink:
    """Return a sink that writes one JSON object per line; control characters are escaped."""

    def write(event: Event) -> None:
        record = {"event": event.name, "level": event.level, **event.fields}
        stream.write(json.dumps(record, default=str) + "\n")

    return write


def at_least(level: Level, sink: Sink) -> Sink:
    """Return a sink that passes on events of `level` and above."""
    lowest = LEVELS.index(level)

    def write(event: Event) -> None:
        if LEVELS.index(event.level) >= lowest:
            sink(event)

    return write


def stderr_log() -> Log:
    """Return a log for code that runs outside a host: warnings and errors as JSON on stderr."""
    return Log(at_least("warn", json_lines(sys.stderr)))
