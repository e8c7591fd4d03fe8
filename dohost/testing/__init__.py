"""Testing Durable Objects: a pytest plugin, and the isolated host behind its fixture.

A test takes the fixture `dohost` and has a host of its own: its own data, a clock that stands still, and
faults on demand. `isolated_host` gives the same without pytest. pytest imports this package at every
start, so what is heavy is loaded when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dohost.testing.faults import Fault
    from dohost.testing.isolated import IsolatedHost, isolated_host
    from dohost.testing.sockets import SocketClient
    from dohost.testing.storage import StorageHandle

__all__ = ["Fault", "IsolatedHost", "SocketClient", "StorageHandle", "isolated_host"]

_PLACES = {
    "Fault": "dohost.testing.faults",
    "IsolatedHost": "dohost.testing.isolated",
    "SocketClient": "dohost.testing.sockets",
    "StorageHandle": "dohost.testing.storage",
    "isolated_host": "dohost.testing.isolated",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Lazily: this package is imported wherever pytest runs and dohost is installed.
    from importlib import import_module

    found: object = getattr(import_module(_PLACES[name]), name)
    return found
