"""All commits of an object that can be gone back to, from its history file and its log together.

A commit is known by its position. When it happened is known to the second: the first commit of each
second writes the time into the database header (`Database.commit`), so a commit happened in the second
of the last mark at or before it. Answers about time take no chance: a state is given for a time only if it
was committed by then for certain.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from dohost.errors import JsException
from dohost.storage.bookmark import NO_SALT, Bookmark, Meaning, Position
from dohost.storage.history import History, main_file
from dohost.storage.log_file import DATABASE_HEADER_BYTES, LogHeader, Run, read_runs, time_of


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """The log as it is now: its header (None: nothing written yet) and how many frames are committed."""

    header: LogHeader | None
    frames: int


class Commit(msgspec.Struct, frozen=True):
    """A commit, the second in which it was made (0: before time was noted), and the pages it left."""

    position: Position
    marked_s: int
    database_pages: int


class Timeline:
    """The past of one object, oldest first."""

    def __init__(self, path: Path, history: History, log: LogState) -> None:
        self._path = path
        self._history = history
        self._log = log
        self.live = history.number_of(log.header)
        self.kept = [each for each in history.generations() if each.number < self.live]

    @property
    def end(self) -> Position:
        """The last commit."""
        return Position(self.live, self._log.frames)

    def salt_of(self, generation: int) -> str:
        """Return the salt of a generation, NO_SALT for one that has not begun."""
        if generation == self.live:
            return NO_SALT if self._log.header is None else self._log.header.salt
        return next((each.salt for each in self.kept if each.number == generation), NO_SALT)

    def commits(self) -> Iterator[Commit]:
        """Yield the state that everything began with, and then every commit."""
        oldest = self.kept[0].number if self.kept else self.live
        marked_s = self._first_mark()
        yield Commit(Position(oldest, 0), marked_s, 0)
        for generation, frame, pages, mark in self._rows():
            marked_s = marked_s if mark is None else mark
            if pages:
                yield Commit(Position(generation, frame), marked_s, pages)

    def at_time(self, time_s: int) -> Position:
        """Return the last commit that was made before `time_s` ended. Raises: JsException: too long ago."""
        found: Position | None = None
        for commit in self.commits():
            if commit.marked_s >= time_s:
                break
            found = commit.position
        if found is None:
            raise JsException("The history of this object does not reach back to that time.")
        return found

    def resolve(self, bookmark: Bookmark) -> Position:
        """Return the commit that a bookmark means. Raises: JsException if it can't be gone back to."""
        position, salt = bookmark.position, bookmark.salt
        match bookmark.meaning:
            case Meaning.undo:
                undone = self._history.undo_of(str(bookmark))
                if undone is None:
                    raise JsException("The restore that this bookmark undoes has not happened.")
                position = Position(*undone)
                salt = self.salt_of(position.generation)
            case Meaning.next:
                self._check(position, salt)
                later = (each.position for each in self.commits() if each.position > position)
                position = next(later, position)
                salt = self.salt_of(position.generation)
        self._check(position, salt)
        return position

    def pages_until(self, position: Position) -> Iterator[tuple[int, bytes]]:
        """Yield pages that turn the main file into the state at `position`, if written in this order."""
        for generation in range(self.live, position.generation - 1, -1):
            yield from self._history.overwritten(generation)
        for run in self._runs_until(position):
            for frame in run.frames():
                yield frame.page, frame.content

    def size_at(self, position: Position) -> int | None:
        """Return the size of the state at `position` in pages; None: that of the main file."""
        if position.frame:
            *_, run = self._runs_until(position)
            *_, (_, _, pages, _) = run.heads()
            return pages
        rows = self._history.generations()
        return next((each.base_pages for each in rows if each.number == position.generation), None)

    def _runs_until(self, position: Position) -> Iterator[Run]:
        if position.generation != self.live:
            return self._history.runs(position.generation, last=position.frame)
        if self._log.header is None:
            return iter(())
        return read_runs(self._path, salt=self._log.header.salt, first=1, last=position.frame)

    def _check(self, position: Position, salt: str) -> None:
        frames = {each.number: each.frames for each in self.kept}
        frames[self.live] = self._log.frames
        known = self.salt_of(position.generation)
        is_same = salt == known or (salt == NO_SALT and position.frame == 0)
        if not is_same or position.frame > frames.get(position.generation, -1):
            raise JsException(
                "This bookmark is not in the history of this object, or no longer: "
                f"{len(self.kept)} earlier runs of its log are kept."
            )

    def _first_mark(self) -> int:
        for generation in self._history.generations():
            for page, content in self._history.overwritten(generation.number):
                if page == 1:
                    return time_of(content)
        with main_file(self._path) as main:
            return time_of(main.xRead(DATABASE_HEADER_BYTES, 0))

    def _rows(self) -> Iterator[tuple[int, int, int, int | None]]:
        ends = [Position(each.number, each.frames) for each in self.kept]
        for end in (*ends, self.end):
            for run in self._runs_until(end):
                for number, page, pages, _ in run.heads():
                    mark = run.marked_s(number) if page == 1 else None
                    yield end.generation, number, pages, mark
