"""The module `pyodide.http`: `pyfetch` alone, which is `workers.fetch`. There is no `open_url`."""

from __future__ import annotations

from workers import FetchResponse, fetch

__all__ = ["FetchResponse", "pyfetch"]


async def pyfetch(url: str, **options: object) -> FetchResponse:
    """Send a request. Raises: OSError if there is no network here or it failed."""
    return await fetch(url, **options)
