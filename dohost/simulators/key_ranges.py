"""Which keys a listing reads: those with a prefix, behind a key, as one range of a table's index.

SQLite compares texts by their bytes. No key has a byte of 0xFF, so every key with a prefix lies before the
prefix with that byte behind it; and the first text behind a key is that key with a zero behind it.
"""

from __future__ import annotations

IN_RANGE = "key >= ? AND key < CAST(? AS TEXT)"


def range_behind(prefix: str, after: str | None) -> tuple[str, bytes]:
    """Return the parameters of `IN_RANGE` for the keys with `prefix` that come after `after`."""
    first = prefix if after is None else max(prefix, f"{after}\0", key=str.encode)
    return first, prefix.encode() + b"\xff"
