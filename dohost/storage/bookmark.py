"""Bookmarks: points in an object's history, as text that sorts in the order of time.

Cloudflare's shape is four groups of hex digits; here they are the *generation* of the write-ahead log,
the number of its last committed frame, the session (one life of an instance) that asked, and a last
group of three parts: how often that session had asked, what is meant, and the log's salt, which proves
that the generation is the one that was meant. Programs must treat a bookmark as opaque.
"""

from __future__ import annotations

import re
from enum import IntEnum

import msgspec

from dohost.errors import JsException

NO_RECOVERY = "This Durable Object's storage back-end does not implement point-in-time recovery."
NO_SALT = "0" * 16
_SHAPE = re.compile(r"([0-9a-f]{8})-([0-9a-f]{8})-([0-9a-f]{8})-([0-9a-f]{14})([0-9a-f]{2})(.{16})")


class Meaning(IntEnum):
    """What a bookmark means beside its position.

    `exact`: the state at that frame. `next`: a transaction was open, and the commit after that frame
    holds it. `undo`: the state just before the restore that this bookmark was given out for.
    """

    exact = 0
    next = 1
    undo = 2


class Position(msgspec.Struct, frozen=True, order=True):
    """A commit: the generation of the log and the number of the frame that ends it.

    Frame 0 is the state before the generation's first commit.
    """

    generation: int
    frame: int


class Bookmark(msgspec.Struct, frozen=True, kw_only=True):
    """One parsed bookmark."""

    position: Position
    session: int
    question: int
    meaning: Meaning
    salt: str

    def __str__(self) -> str:
        position = self.position
        return (
            f"{position.generation:08x}-{position.frame:08x}-{self.session:08x}-"
            f"{self.question:014x}{self.meaning:02x}{self.salt}"
        )


def parse_bookmark(text: object) -> Bookmark:
    """Return what `str(bookmark)` says. Raises: JsException for any other text."""
    found = _SHAPE.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found[5], 16) not in tuple(Meaning):
        raise JsException(f"{text!r} is not a bookmark of this host.")
    return Bookmark(
        position=Position(int(found[1], 16), int(found[2], 16)),
        session=int(found[3], 16),
        question=int(found[4], 16),
        meaning=Meaning(int(found[5], 16)),
        salt=found[6],
    )
