"""Room behind a write-ahead log before it is needed, because a file that grows is slow to sync.

A commit makes the log longer by a frame or two, and then a sync has to make the file's new length durable
as well as its content: it takes twice as long as one of a file that is written over in place (measured: 390
and 190 µs on average). So a log that is written again and again gets zeros behind its end, as many as it is
long itself. To SQLite they are no frames, and it writes over them.

Invariants: (1) zeros are written inside a write transaction, which keeps everybody else from appending, and
behind the end of the file, so nothing that is there is ever written over; (2) room is a convenience: if there
is none to be had, the log grows as it did without.
"""

from __future__ import annotations

import os

# A log of fewer pages may never grow further; beyond a thousand it is copied and starts anew.
PAGES_MIN = 4
ROOM_PAGES_MAX = 64
# A frame of the page size that objects have.
FRAME_BYTES = 4_120
# What one commit usually appends.
_NEXT_PAGES = 2
_ZEROS = memoryview(bytes(ROOM_PAGES_MAX * FRAME_BYTES))


class LogRoom:
    """The room behind one log."""

    __slots__ = ("_end", "_log")

    def __init__(self, log: int) -> None:
        """`log` is a descriptor of the log that can be written to; it is not closed here."""
        self._log = log
        # Where the file ends, when last looked at.
        self._end = 0

    def make(self, pages: int) -> None:
        """See that the next commit finds room in a log of so many pages; in a write transaction."""
        if (pages + _NEXT_PAGES) * FRAME_BYTES < self._end or pages < PAGES_MIN:
            return
        try:
            end = os.fstat(self._log).st_size
            if (pages + _NEXT_PAGES) * FRAME_BYTES >= end:
                room = min(pages, ROOM_PAGES_MAX) * FRAME_BYTES
                end += os.pwrite(self._log, _ZEROS[:room], end)
        except OSError:
            # A full disk, or a limit on the length of files: whoever has to write will hear of it.
            return
        self._end = end
