"""The rate-limit binding: `await env.NAME.limit({"key": …})` → `{"success": bool}`.

Like Cloudflare's it is a cheap guard, not an account: it counts in memory, in windows of 10 or 60
seconds, and forgets at a restart. The gateway's durable limiter is another thing.
"""

from __future__ import annotations

from collections import OrderedDict

from workers.values import JsDict

from dohost.clock import Clock
from dohost.errors import JsTypeError
from dohost.storage.awaitable import Completed

KEYS_MAX = 100_000


class RateLimit:
    """Allows `limit` calls per key in each window of `period_s` seconds."""

    def __init__(self, *, limit: int, period_s: int, clock: Clock) -> None:
        self._limit = limit
        self._period_s = period_s
        self._clock = clock
        self._window = -1
        self._counts: OrderedDict[str, int] = OrderedDict()

    def limit(self, options: object = None, *, key: object = None) -> Completed[JsDict]:
        """Count one call for the key and say whether it is within the limit."""
        if isinstance(options, dict):
            key = options.get("key")
        if not isinstance(key, str):
            raise JsTypeError('limit() takes an object with a string "key".')
        window = int(self._clock.monotonic() // self._period_s)
        if window != self._window:
            self._window = window
            self._counts.clear()
        count = self._counts.get(key, 0) + 1
        if count <= self._limit:
            self._counts[key] = count
            if len(self._counts) > KEYS_MAX:
                self._counts.popitem(last=False)
        return Completed(JsDict(success=count <= self._limit))
