"""When an open WebSocket is overdue: silent clients are pinged, then given up; slow ends are cut.

Thousands of idle sockets must cost next to nothing. They stand in the order in which they were last heard
or pinged, so one look at the front finds all that are due; nobody has a timer of its own. A look pings a
bounded share of them, so that sockets which opened together are not all served at once.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from dohost.server.limits import Limits

if TYPE_CHECKING:
    from dohost.server.websocket_connection import WebSocketConnection


class WebSocketWatch:
    """The open WebSockets of a listener."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._idle: OrderedDict[WebSocketConnection, None] = OrderedDict()
        self._pressed: dict[WebSocketConnection, float] = {}

    def heard(self, connection: WebSocketConnection, now_s: float) -> None:
        """Note that a client said something: it is in no hurry again."""
        connection.touched_s = now_s
        connection.is_pinged = False
        self._idle[connection] = None
        self._idle.move_to_end(connection)

    def press(self, connection: WebSocketConnection, deadline_s: float) -> None:
        """Cut the connection at `deadline_s`, unless it is released or gone; the earlier one counts."""
        self._pressed[connection] = min(deadline_s, self._pressed.get(connection, deadline_s))

    def release(self, connection: WebSocketConnection) -> None:
        """Take a deadline back."""
        self._pressed.pop(connection, None)

    def forget(self, connection: WebSocketConnection) -> None:
        """Note that a connection is closed."""
        self._idle.pop(connection, None)
        self._pressed.pop(connection, None)

    def sweep(self, now_s: float) -> None:
        """End or ping what is overdue at `now_s`."""
        for connection, deadline_s in tuple(self._pressed.items()):
            if now_s >= deadline_s:
                del self._pressed[connection]
                connection.overdue()
        ping_s = self._limits.websocket_ping_s
        if ping_s is not None:
            self._ping(now_s, ping_s)

    def _ping(self, now_s: float, ping_s: float) -> None:
        share = 1 + int(2 * len(self._idle) * self._limits.sweep_s / ping_s)
        for _ in range(min(share, len(self._idle))):
            connection = next(iter(self._idle))
            if now_s - connection.touched_s < ping_s:
                return
            if connection.is_pinged:
                self.forget(connection)
                connection.cut()
                continue
            self.heard(connection, now_s)
            # A client that is not read, because the program is behind, can't be heard.
            if not connection.is_reading_paused:
                connection.is_pinged = True
                connection.ping()

    def __repr__(self) -> str:
        return f"<WebSocketWatch {len(self._idle)} open, {len(self._pressed)} with a deadline>"
