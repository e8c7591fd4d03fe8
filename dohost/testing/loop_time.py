"""The event loop's own time under test: it runs as ever, and a test can skip ahead in it.

`asyncio.sleep`, timeouts and the host's timers follow `loop.time()`. Skipping adds to it, so a timer of
30 s is due at once after `skip(30)`, while sockets and short sleeps work as they always do. asyncio has
no public way to ask a loop what is ready and which timer is next; its queue and its heap have had
these names since it exists, and are only read here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from dohost.errors import CallerError


class LoopTime:
    """Skips time in one running loop."""

    def __init__(self, loop: asyncio.BaseEventLoop) -> None:
        self._loop = loop
        self._skipped_s = 0.0
        self._real_time = loop.time

    def skip(self, seconds: float) -> None:
        """Let timers that are due within `seconds` be due now."""
        self._skipped_s += seconds

    def time(self) -> float:
        """Return what `loop.time()` returns under test."""
        return self._real_time() + self._skipped_s

    @property
    def is_ready(self) -> bool:
        """Whether anything can run now."""
        ready: object = self._loop._ready  # type: ignore[attr-defined] # see the header
        return bool(ready)

    def next_timer_s(self) -> float | None:
        """Return in how many seconds the next timer is due, or None if there is none."""
        handles: list[asyncio.TimerHandle] = self._loop._scheduled  # type: ignore[attr-defined] # see the header
        due = [handle.when() for handle in handles if not handle.cancelled()]
        return min(due) - self.time() if due else None


@contextlib.contextmanager
def skippable_loop() -> Iterator[LoopTime]:
    """Make the running loop's time skippable. Raises: CallerError if it is not asyncio's own loop."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        raise CallerError(
            f"Tests of Durable Objects need asyncio's own event loop, in whose time they skip; this is "
            f"{type(loop).__module__}.{type(loop).__name__}. Select asyncio's default for them."
        )
    loop_time = LoopTime(loop)
    loop.time = loop_time.time  # type: ignore[method-assign] # taken away again below
    try:
        yield loop_time
    finally:
        del loop.time
