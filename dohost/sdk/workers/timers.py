"""JavaScript's timers. A timer belongs to whoever set it: in an object its callback is an event of it.

What `setTimeout` returns is the running timer; give it to `clearTimeout`. A failing callback is reported as
an asyncio task's failure is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Callback = Callable[..., object]
Timer = asyncio.Future[None]


def setTimeout(callback: Callback, ms: float = 0, *args: object) -> Timer:
    """Call `callback` once, in `ms` milliseconds."""

    async def run() -> None:
        await asyncio.sleep(ms / 1000)
        await _call(callback, args)

    return asyncio.ensure_future(run())


def setInterval(callback: Callback, ms: float = 0, *args: object) -> Timer:
    """Call `callback` every `ms` milliseconds, until it is cleared."""

    async def run() -> None:
        while True:
            await asyncio.sleep(ms / 1000)
            await _call(callback, args)

    return asyncio.ensure_future(run())


def clearTimeout(timer: Timer | None) -> None:
    """Stop a timer; None, and one that has ended, are fine."""
    if timer is not None:
        timer.cancel()


clearInterval = clearTimeout


async def _call(callback: Callback, args: tuple[object, ...]) -> None:
    result = callback(*args)
    if isinstance(result, Awaitable):
        await result
