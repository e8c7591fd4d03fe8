"""Events, not sentences: what happened, with fields, once per failure, where it is handled.

A `Log` gives each event to its sink and knows nothing about where events go; the command line
installs a printer, tests install a list. Values of fields must be safe to show: no secrets, no bodies.
One broken thing can fail many times a second, and a flood in the log is a second outage: `limited` lets few
warnings and errors of a kind pass.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal, TextIO

import msgspec

Level = Literal["debug", "info", "log", "warn", "error"]
LEVELS: tuple[Level, ...] = ("debug", "info", "log", "warn", "error")
EVENTS_PER_WINDOW_MAX = 10
WINDOW_S = 10.0
_KINDS_MAX = 256


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

    def limited(self, monotonic: Callable[[], float]) -> Log:
        """Return a log to the same place that few warnings and errors of a kind get through."""
        return Log(_FewOfAKind(self._sink, monotonic))


class _Window:
    __slots__ = ("count", "started_s")

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self.count = 1


class _FewOfAKind:
    """A sink: the first events of each name and `cause` in a window pass, the others are counted."""

    def __init__(self, sink: Sink, monotonic: Callable[[], float]) -> None:
        self._sink = sink
        self._monotonic = monotonic
        self._windows: OrderedDict[tuple[str, object], _Window] = OrderedDict()

    def __call__(self, event: Event) -> None:
        if event.level not in ("warn", "error"):
            self._sink(event)
            return
        now_s = self._monotonic()
        kind = (event.name, event.fields.get("cause"))
        window = self._windows.get(kind)
        if window is not None and now_s - window.started_s < WINDOW_S:
            window.count += 1
            if window.count <= EVENTS_PER_WINDOW_MAX:
                self._sink(event)
            return
        left_out = 0 if window is None else max(0, window.count - EVENTS_PER_WINDOW_MAX)
        self._windows[kind] = _Window(now_s)
        self._windows.move_to_end(kind)
        if len(self._windows) > _KINDS_MAX:
            self._windows.popitem(last=False)
        if left_out:
            fields = {**event.fields, "left_out_before": left_out}
            event = Event(name=event.name, level=event.level, fields=fields)
        self._sink(event)


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
