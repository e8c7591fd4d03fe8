"""Ending code that does not end by itself: an exception in the middle of an object's turn.

The watchdog's thread sends a signal; its handler runs on the loop's thread between two instructions,
sees in which frame, and does there what `ctx.abort()` does: it resets the object and leaves its code by
an exception. So an interrupt is as safe as an `abort()` that the code itself had called at that point,
and it must land only where the code could have done that: in a function of the worker, or in a library
that it called. In the host, in asyncio, or in what holds locks of the process, the handler does nothing,
and the watchdog sends the signal again. Code that spends its time in the storage is ended by the storage:
it looks at the account at each use, as the signals would nearly always find it inside the host.

Statements of SQLite end by their own look at the clock (`storage.authorizer`). Code in C that does not
come back can't be ended by anybody; code that catches everything is interrupted again and again.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

from dohost.runtime.cpu import CpuMeter
from dohost.runtime.loader import MODULE_PREFIX

# Its default is to do nothing, so one that comes too late is harmless.
SIGNAL = signal.SIGURG
# The gateway and its federation engine are Worker code that ships with the host.
WORKER_PACKAGES = ("dohost.gateway.", "dohost.federation.")
KEPT_WHOLE = frozenset(
    ["asyncio", "concurrent", "contextlib", "importlib", "logging", "threading", "weakref"]
)
HOST = frozenset(["dohost", "workers", "aiohttp", "uvloop", "rich", "click", "watchfiles"])


class Interrupts:
    """Lets `send` interrupt the object that computes too long; in the main thread only."""

    def __init__(self, meter: CpuMeter) -> None:
        self._meter = meter
        self._thread_id = threading.get_ident()
        self._is_possible = threading.current_thread() is threading.main_thread()
        self._before: object = None

    def __enter__(self) -> Interrupts:
        if self._is_possible:
            self._before = signal.signal(SIGNAL, self._handle)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._is_possible:
            signal.signal(SIGNAL, self._before)  # type: ignore[arg-type] # what it gave us

    def send(self) -> None:
        """Interrupt what runs, soon and if it is over its limit then; for any thread."""
        if self._is_possible:
            signal.pthread_kill(self._thread_id, SIGNAL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._meter.is_over() and may_end_in(frame):
            self._meter.end_overlong()


def may_end_in(frame: FrameType | None) -> bool:
    """Whether an exception may be raised in `frame`: in a worker's function or a library it called."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if is_worker_module(name):
            return True
        if name.partition(".")[0] in KEPT_WHOLE | HOST:
            return False
        frame = frame.f_back
    return False


def is_worker_module(name: str) -> bool:
    """Whether a module is a worker's: loaded from its directory, or the gateway's own."""
    return name.startswith((MODULE_PREFIX, *WORKER_PACKAGES))
