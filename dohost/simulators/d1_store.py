"""One D1 database: its file, used by one request at a time, in a thread.

The file's name is wrangler's, so that `wrangler d1 migrations apply NAME --local --persist-to DIR` and
other tools of wrangler find it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from dohost.clock import Entropy
from dohost.objects.id import IdFactory
from dohost.simulators.failures import failed_file
from dohost.storage.d1 import D1File, D1Query, D1Result

WRANGLERS_KEY = "miniflare-D1DatabaseObject"


def d1_path(persist: Path, database_id: str, entropy: Entropy) -> Path:
    """Return the file of a database."""
    name = IdFactory(WRANGLERS_KEY, entropy).from_name(database_id)
    return persist / "v3" / "d1" / WRANGLERS_KEY / f"{name}.sqlite"


class D1Store:
    """A database that requests share."""

    def __init__(self, path: Path) -> None:
        self._file = D1File(path)
        self._lock = asyncio.Lock()
        self.requests = 0

    async def run(self, queries: Sequence[D1Query]) -> list[D1Result]:
        """Run all queries as one transaction. Raises: JsException with SQLite's message, HostError."""
        async with self._lock:
            self.requests += 1
            try:
                return await asyncio.to_thread(self._file.run, queries)
            except OSError as error:
                raise failed_file(error) from error

    @property
    def is_busy(self) -> bool:
        """Whether a thread works for it now."""
        return self._lock.locked()

    async def close(self) -> None:
        """Close the file when what runs on it has ended."""
        async with self._lock:
            await asyncio.to_thread(self._file.close)
