"""Every bound that the server puts on a client, as values; nothing here waits or sends.

A hostile client may cost a bounded amount of memory, descriptors and time. Sizes are checked where the
bytes arrive (`connection`, `bodies`), times by one watchdog (`connection.Listener.sweep`) that looks at
every connection at a coarse interval, so that a request costs no timer of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

KIB = 1024
MIB = 1024 * KIB

# A field on the wire is `name: value` and a line end.
_FIELD_OVERHEAD_BYTES = 4


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client and all clients together may use.

    `header_bytes_max`, `header_lines_max`: of one request's fields; beyond: 431.
    `url_bytes_max`: of the request target; beyond: 414. `body_bytes_max`: of one request; beyond: 413.
    `read_ahead_bytes`: how much of a body is buffered before the client has to wait.
    `head_deadline_s`: from the first byte of a request (or the accept) to the end of its fields: 408.
    `request_deadline_s`: from there to the first byte of the answer, None for no limit: 504.
    `write_stall_s`: how long a client may leave an answer unread before it is cut off.
    `idle_s`: how long a connection may stay open between two requests.
    `linger_s`: how long an unread body is still taken in after the answer.
    `connections_max`, `connections_per_ip_max`: open at once; loopback clients and trusted proxies
    count for the first only; beyond: 503.
    `sweep_s`: how often deadlines are looked at.
    `websocket_message_bytes_max`: of one message; beyond: close code 1009.
    `websocket_queue_bytes_max`: of messages that a client has not taken yet; beyond: close code 1008.
    `websocket_close_s`: how long one side's Close waits for the other's.
    `websocket_ping_s`: a client that was silent for so long is pinged, and given up if it stays so for
    as long again; None for never.
    """

    header_bytes_max: int = 16 * KIB
    header_lines_max: int = 100
    url_bytes_max: int = 8 * KIB
    body_bytes_max: int = 100 * MIB
    read_ahead_bytes: int = 64 * KIB
    head_deadline_s: float = 10.0
    request_deadline_s: float | None = 300.0
    write_stall_s: float = 60.0
    idle_s: float = 75.0
    linger_s: float = 5.0
    connections_max: int = 20_000
    connections_per_ip_max: int = 512
    are_local_clients_exempt: bool = True
    sweep_s: float = 1.0
    websocket_message_bytes_max: int = 32 * MIB
    websocket_queue_bytes_max: int = 16 * MIB
    websocket_close_s: float = 10.0
    websocket_ping_s: float | None = 30.0


def header_bytes(raw_headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Return how many bytes these fields take on the wire."""
    return sum(len(name) + len(value) + _FIELD_OVERHEAD_BYTES for name, value in raw_headers)


class ConnectionCount:
    """How many connections are open, overall and by address; decides who may open one more."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_ip: dict[str, int] = {}
        self.total = 0

    def admit(self, ip: str, *, is_exempt: bool) -> bool:
        """Count one more connection of `ip`; False if that is too many. Pair with `release`."""
        used = self._by_ip.get(ip, 0)
        self._by_ip[ip] = used + 1
        self.total += 1
        if self.total > self._limits.connections_max:
            return False
        return is_exempt or used < self._limits.connections_per_ip_max

    def release(self, ip: str) -> None:
        """Forget one connection of `ip`."""
        self.total -= 1
        left = self._by_ip[ip] - 1
        if left:
            self._by_ip[ip] = left
        else:
            del self._by_ip[ip]

    def __repr__(self) -> str:
        return f"<ConnectionCount {self.total} open from {len(self._by_ip)} addresses>"
