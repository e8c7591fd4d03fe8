"""A file's bytes in chunks, each read in a thread: never whole in memory, and never on the loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 256 * 1024

InThread = Callable[[Callable[[int], bytes], int], Awaitable[bytes]]


async def chunks_of(
    path: Path, file: BinaryIO, size: int, in_thread: InThread
) -> AsyncGenerator[bytes, None]:
    """Give `size` bytes from where `file` stands, and close it. Raises: OSError if they aren't there."""
    try:
        while size:
            chunk = await in_thread(file.read, min(size, CHUNK_BYTES))
            if not chunk:
                raise OSError(f"{path} ended {size} bytes too early")
            size -= len(chunk)
            yield chunk
    finally:
        file.close()
