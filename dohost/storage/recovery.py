"""Bookmarks and point-in-time recovery of one live object.

What `ctx.storage` offers, over `timeline` (which commits there are) and `restore` (going back to one). A
session is numbered when it first asks, so that its bookmarks are greater than those of every session
before, also when nothing was written in between.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dohost.errors import JsException
from dohost.storage.bookmark import (
    NO_RECOVERY,
    NO_SALT,
    Bookmark,
    Meaning,
    Position,
    parse_bookmark,
)
from dohost.storage.history import HistoryLimits, opened_history
from dohost.storage.log_file import LogHeader
from dohost.storage.restore import RestoreOrder, order_restore
from dohost.storage.timeline import LogState, Timeline


class Recovery:
    """Gives out bookmarks and takes orders to restore."""

    def __init__(
        self, path: Path, limits: HistoryLimits, log_state: Callable[[], LogState]
    ) -> None:
        self._path = path
        self._limits = limits
        self._log_state = log_state
        self._session = 0
        self._questions = 0
        self._header: LogHeader | None = None
        self._generation = 0

    def current(self, *, is_writing: bool) -> str:
        """Return a bookmark of now; `is_writing`: of the transaction that is open."""
        log = self._log_state()
        if not self._session or log.header != self._header:
            self._look_up(log.header)
        meaning = Meaning.next if is_writing else Meaning.exact
        position = Position(self._generation, log.frames)
        return str(self._bookmark(position, meaning, salt=_salt_of(log.header)))

    def at_time(self, time_s: int) -> str:
        """Return a bookmark of the last commit that was made before `time_s`. Raises: JsException."""
        self._check_kept()
        log = self._log_state()
        self._look_up(log.header)
        with opened_history(self._path) as history:
            timeline = Timeline(self._path, history, log)
            position = timeline.at_time(time_s)
            salt = timeline.salt_of(position.generation)
        return str(self._bookmark(position, Meaning.exact, salt=salt))

    def restore_next(self, text: object) -> str:
        """Let the object's next instance begin with a bookmark's state; return what undoes that.

        Raises: JsException if the bookmark can't be gone back to.
        """
        bookmark = parse_bookmark(text)
        self._check_kept()
        log = self._log_state()
        self._look_up(log.header)
        with opened_history(self._path) as history:
            Timeline(self._path, history, log).resolve(bookmark)
        position = Position(self._generation, log.frames)
        undo = str(self._bookmark(position, Meaning.undo, salt=_salt_of(log.header)))
        order_restore(self._path, RestoreOrder(bookmark=str(bookmark), undo=undo))
        return undo

    def _look_up(self, header: LogHeader | None) -> None:
        with opened_history(self._path) as history:
            if self._session:
                self._generation = history.number_of(header)
            else:
                self._session, self._generation = history.begin_session(header)
        self._header = header

    def _check_kept(self) -> None:
        if not self._limits.is_kept:
            raise JsException(NO_RECOVERY)

    def _bookmark(self, position: Position, meaning: Meaning, *, salt: str) -> Bookmark:
        self._questions += 1
        return Bookmark(
            position=position,
            session=self._session,
            question=self._questions,
            meaning=meaning,
            salt=salt,
        )


def _salt_of(header: LogHeader | None) -> str:
    return NO_SALT if header is None else header.salt
