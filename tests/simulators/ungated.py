"""An outlet without gates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine


class UngatedOutlet:
    """Runs work at once, as for a caller without writes."""

    def read(self, work: Callable[[], Coroutine[object, object, object]]) -> Awaitable[object]:
        return asyncio.ensure_future(work())

    write = read
