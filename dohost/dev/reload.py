"""Reload that keeps the last good code.

Each change loads configuration and code anew, beside what serves. If anything is wrong, the problem is
reported and what served goes on serving; the next good save heals it. Changes that arrive while a
reload runs are joined into one more reload, so the newest source always wins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from dohost.config import Loaded
from dohost.errors import ConfigError, UserCodeError


class ReloadView(Protocol):
    """Who is told how a reload went."""

    def reloading(self) -> None:
        """A reload begins."""
        ...

    def reloaded(self, loaded: Loaded, *, duration_ms: float) -> None:
        """New code serves."""
        ...

    def reload_failed(self, error: ConfigError | UserCodeError) -> None:
        """The code of before goes on; `error` says why."""
        ...


class Reloader:
    """Turns changes into reloads, one at a time."""

    def __init__(
        self,
        read: Callable[[], Loaded],
        apply: Callable[[Loaded], Awaitable[None]],
        *,
        view: ReloadView,
        monotonic: Callable[[], float],
    ) -> None:
        self._read = read
        self._apply = apply
        self._view = view
        self._monotonic = monotonic
        self._is_wanted = False
        self._lock = asyncio.Lock()
        self.loaded: Loaded | None = None

    async def reload(self) -> bool:
        """Load what is on disk now; return whether it serves. Not cancel-safe: may have swapped."""
        self._is_wanted = True
        async with self._lock:
            if not self._is_wanted:  # the reload that we waited for began after our change
                return self.loaded is not None
            self._is_wanted = False
            return await self._reload()

    async def _reload(self) -> bool:
        started = self._monotonic()
        self._view.reloading()
        try:
            loaded = self._read()
            await self._apply(loaded)
        except (ConfigError, UserCodeError) as error:
            self._view.reload_failed(error)
            return False
        self.loaded = loaded
        self._view.reloaded(loaded, duration_ms=(self._monotonic() - started) * 1000)
        return True
