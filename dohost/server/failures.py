"""One log event per failure, but few of a kind: a flood in the log is a second outage."""

from __future__ import annotations

from collections import OrderedDict

from dohost.clock import Clock
from dohost.telemetry import Log

EVENTS_PER_WINDOW_MAX = 10
WINDOW_S = 10.0
_CAUSES_MAX = 256


class _Window:
    __slots__ = ("count", "started_s")

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self.count = 0


class FailureLog:
    """Passes on the first events of each cause in a window, and counts the others."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def record(self, name: str, *, cause: str, **fields: object) -> None:
        """Log the event `name`, or only count it; a new window tells how many were left out."""
        now_s = self._clock.monotonic()
        key = f"{name} {cause}"
        window = self._windows.get(key)
        if window is not None and now_s - window.started_s < WINDOW_S:
            window.count += 1
            if window.count <= EVENTS_PER_WINDOW_MAX:
                self._log.event(name, level="error", cause=cause, **fields)
            return
        left_out = 0 if window is None else max(0, window.count - EVENTS_PER_WINDOW_MAX)
        self._windows[key] = window = _Window(now_s)
        window.count = 1
        self._windows.move_to_end(key)
        if len(self._windows) > _CAUSES_MAX:
            self._windows.popitem(last=False)
        if left_out:
            fields["left_out_before"] = left_out
        self._log.event(name, level="error", cause=cause, **fields)
