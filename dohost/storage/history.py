"""An object's past: what each run of its write-ahead log held, kept when the log starts anew.

The log *is* the history: it holds every page that every commit wrote. It is only lost when it has been
copied into the main file and SQLite starts it anew. So before each checkpoint its frames go into
`<id>.history` beside the file, together with the pages of the main file that the checkpoint will
overwrite. A run of the log between two starts is a *generation*. Going back from now means: put the
overwritten pages of each later generation back, then apply the frames of the wanted one up to the wanted
commit. Nothing of this happens on the way of a commit, and an object whose log never grew long has no
history file at all.

Whole generations are forgotten when newer ones hold `commits_max` commits, or when they are older
than `age_max_s`. A log that did not follow from the last one (another program has emptied it) cuts the
chain: what is older is unreachable and forgotten. Blocking; for a thread, or for rare questions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import apsw
import msgspec

from dohost.errors import StorageFailure
from dohost.storage.failures import message_of
from dohost.storage.log_file import (
    DATABASE_HEADER_BYTES,
    LogHeader,
    Run,
    read_runs,
    time_of,
)

BUSY_MS = 5000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS generations (number INTEGER PRIMARY KEY, salt TEXT NOT NULL,
  base_pages INTEGER NOT NULL, frames INTEGER NOT NULL, commits INTEGER NOT NULL,
  last_s INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, page_bytes INTEGER NOT NULL,
  content BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS overwritten (id INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sessions (count INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS undos (bookmark TEXT PRIMARY KEY, generation INTEGER NOT NULL,
  frame INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
_GENERATIONS = (
    "SELECT number, salt, base_pages, frames, commits, last_s FROM generations ORDER BY number"
)
_KEY_BITS = 32  # by generation << 32 | first frame, or page


class HistoryLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much past is kept: at least so many commits, not longer than so many seconds; 0: none."""

    commits_max: int = 10_000
    age_max_s: int = 7 * 24 * 3600

    @property
    def is_kept(self) -> bool:
        """Whether there is any history."""
        return self.commits_max > 0 and self.age_max_s > 0


DEFAULT_LIMITS = HistoryLimits()


class Generation(msgspec.Struct, frozen=True):
    """One run of the log, as far as it has been taken over."""

    number: int
    salt: str
    base_pages: int
    frames: int
    commits: int
    last_s: int


def history_path(path: Path) -> Path:
    """Return where the history of the object file `path` is."""
    return path.with_suffix(".history")


@contextlib.contextmanager
def opened_history(path: Path) -> Iterator[History]:
    """Open the history of the object file `path`, making it if there is none. Raises: StorageFailure."""
    try:
        try:
            connection = _connect(path)
        except apsw.NotADBError:
            # That past is lost; but with no history at all, no log would ever be copied again.
            history_path(path).replace(path.with_suffix(".history-damaged"))
            connection = _connect(path)
        try:
            yield History(path, connection)
        finally:
            connection.close()
    except apsw.Error as error:
        raise StorageFailure(
            f"{history_path(path)} can't be used: {message_of(error)}", outcome="not-applied"
        ) from error


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(history_path(path)))
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.pragma("page_size", 65536)  # fifteen pages of 4 KiB fit without overflow
        connection.pragma("synchronous", "full")
        connection.execute(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


class History:
    """The history file of one object."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path = path
        self._connection = connection

    def generations(self) -> list[Generation]:
        """Return what is kept, oldest first."""
        return [Generation(*row) for row in self._connection.execute(_GENERATIONS)]

    def take_over(self, header: LogHeader, last: int, *, limits: HistoryLimits, now_s: int) -> None:
        """Keep the frames up to `last` of the log with this header, and the pages that they will overwrite.

        Call it before anything of these frames is copied into the main file.
        """
        with self._connection:
            generation = self._current(header)
            self._add(generation, header, last)
            self._prune(limits, now_s)

    def begin_session(self, header: LogHeader | None) -> tuple[int, int]:
        """Return the next session's number, and that of the log's generation (of the next, without one)."""
        with self._connection:
            if not self._connection.execute("SELECT count(*) FROM sessions").get:
                self._connection.execute("INSERT INTO sessions VALUES (0)")
            self._connection.execute("UPDATE sessions SET count = count + 1")
            number = self.number_of(header)
        return self._connection.execute("SELECT count FROM sessions").get, number

    def number_of(self, header: LogHeader | None) -> int:
        """Return the number of the log's generation; a new log is noted."""
        if header is not None:
            return self._current(header).number
        generations = self.generations()
        return generations[-1].number + 1 if generations else 1

    def runs(self, generation: int, *, last: int) -> Iterator[Run]:
        """Yield the frames of a generation up to `last`."""
        key = generation << _KEY_BITS
        rows = self._connection.execute(
            "SELECT id - ?1, page_bytes, content FROM runs WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
            (key, key + last),
        )
        return (Run(*row).until(last) for row in rows)

    def overwritten(self, generation: int) -> Iterator[tuple[int, bytes]]:
        """Yield number and content of the pages as they were before a generation."""
        first = generation << _KEY_BITS
        return self._connection.execute(
            "SELECT id - ?1, content FROM overwritten WHERE id BETWEEN ?1 AND ?2",
            (first, first + (1 << _KEY_BITS) - 1),
        )

    def note_undo(self, bookmark: str, generation: int, frame: int) -> None:
        """Remember where the object was before a restore."""
        self._connection.execute(
            "INSERT OR REPLACE INTO undos VALUES (?, ?, ?)", (bookmark, generation, frame)
        )

    def undo_of(self, bookmark: str) -> tuple[int, int] | None:
        """Return generation and frame from before the restore that `bookmark` undoes, once it happened."""
        row = self._connection.execute(
            "SELECT generation, frame FROM undos WHERE bookmark = ?", (bookmark,)
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def _current(self, header: LogHeader) -> Generation:
        generations = self.generations()
        latest = generations[-1] if generations else None
        if latest is not None and latest.salt == header.salt:
            return latest
        number = 1 if latest is None else latest.number + 1
        if latest is not None and not header.follows(latest.salt):
            self._forget_before(number)
        with main_file(self._path) as main:
            base_pages = main.xFileSize() // header.page_bytes
            marked_s = time_of(main.xRead(DATABASE_HEADER_BYTES, 0))
        last_s = marked_s if latest is None else latest.last_s
        generation = Generation(number, header.salt, base_pages, 0, 0, last_s)
        self._connection.execute(
            "INSERT INTO generations VALUES (?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(generation)
        )
        return generation

    def _add(self, generation: Generation, header: LogHeader, last: int) -> None:
        key = generation.number << _KEY_BITS
        pages: set[int] = set()
        commits, last_s = generation.commits, generation.last_s
        runs = read_runs(self._path, salt=header.salt, first=generation.frames + 1, last=last)
        for run in runs:
            self._connection.execute(
                "INSERT INTO runs VALUES (?, ?, ?)", (key + run.first, run.page_bytes, run.content)
            )
            for number, page, database_pages, _ in run.heads():
                pages.add(page)
                commits += database_pages > 0
                if page == 1:
                    last_s = max(last_s, run.marked_s(number))
        self._keep_overwritten(generation, header, pages)
        self._connection.execute(
            "UPDATE generations SET frames = ?, commits = ?, last_s = ? WHERE number = ?",
            (last, commits, last_s, generation.number),
        )

    def _keep_overwritten(
        self, generation: Generation, header: LogHeader, pages: Iterable[int]
    ) -> None:
        key, size = generation.number << _KEY_BITS, header.page_bytes
        with main_file(self._path) as main:
            # Those of earlier frames are kept already, and may have been overwritten since.
            self._connection.executemany(
                "INSERT OR IGNORE INTO overwritten VALUES (?, ?)",
                [
                    (key + page, main.xRead(size, (page - 1) * size))
                    for page in sorted(pages)
                    if page <= generation.base_pages
                ],
            )

    def _prune(self, limits: HistoryLimits, now_s: int) -> None:
        newest, *older = reversed(self.generations())
        commits = newest.commits
        for generation in older:
            if commits >= limits.commits_max or generation.last_s < now_s - limits.age_max_s:
                self._forget_before(generation.number + 1)
                return
            commits += generation.commits

    def _forget_before(self, number: int) -> None:
        self._connection.execute("DELETE FROM generations WHERE number < ?", (number,))
        for table in ("runs", "overwritten"):
            self._connection.execute(f"DELETE FROM {table} WHERE id < ?", (number << _KEY_BITS,))


@contextlib.contextmanager
def main_file(path: Path) -> Iterator[apsw.VFSFile]:
    """Open the main file for reading through SQLite's own file layer, which keeps its locks."""
    flags = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY
    file = apsw.VFSFile("", str(path.resolve()), [flags, 0])
    try:
        yield file
    finally:
        file.xClose()
