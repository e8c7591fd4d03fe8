"""Bookmarks: points in an object's history, as text that sorts in the order of time.

Here a bookmark is a counter in the object's own file (each question takes the next number), in
Cloudflare's shape: four groups of hex digits. Point-in-time recovery is not built on it yet, so the two
calls that need it say so.
"""

from __future__ import annotations

NO_RECOVERY = "This Durable Object's storage back-end does not implement point-in-time recovery."
_GROUP = 0xFFFFFFFF


def format_bookmark(count: int) -> str:
    """Return the bookmark of the `count`-th question."""
    return f"{count // _GROUP:08x}-{count % _GROUP:08x}-{0:08x}-{0:032x}"
