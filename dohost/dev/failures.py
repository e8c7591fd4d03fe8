"""An exception as facts worth showing: what, where in the user's source, with which values.

Console, error page and problem document say the same because all are made from one `Failure`. Frames
of the host and of libraries are named but not quoted; locals are kept for the user's own frames only.
`Redactor` stands between all of it and the eye: no secret's value passes.
"""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType, TracebackType

import msgspec

from dohost.errors import ConfigError, JsException, UserCodeError

CONTEXT_LINES = 3
FRAMES_MAX = 30
LOCALS_MAX = 20
REPR_CHARACTERS_MAX = 200
HIDDEN = "(hidden)"
_SECRET_NAME = re.compile(
    r"secret|password|passwd|token|authori[sz]ation|cookie|api_?key|private", re.I
)
_SECRET_LENGTH_MIN = 4  # shorter values would blot out half of every page


class SourceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One quoted line of source."""

    number: int
    text: str


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One place of the traceback. `column` (from 0) and `end_column` mark the failing expression."""

    file: str
    line: int
    function: str
    is_user: bool
    source: tuple[SourceLine, ...] = ()
    column: int | None = None
    end_column: int | None = None
    values: tuple[tuple[str, str], ...] = ()


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of an exception; `problems` is set when the failure is a list of findings."""

    kind: str
    message: str
    frames: tuple[Frame, ...] = ()
    problems: tuple[str, ...] = ()
    stack: str = ""


class Redactor:
    """Replaces the values of secrets in text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        found = sorted({s for s in secrets if len(s) >= _SECRET_LENGTH_MIN}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, found))) if found else None

    def text(self, text: str) -> str:
        """Return `text` without any secret's value."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def value(self, name: str, value: object) -> str:
        """Return the repr of a named value: hidden by name, redacted, and short."""
        if _SECRET_NAME.search(name):
            return HIDDEN
        try:
            shown = repr(value)
        except Exception as error:  # noqa: BLE001 # a user's __repr__ may raise anything
            shown = f"<repr failed: {type(error).__name__}>"
        shown = self.text(shown)
        return shown if len(shown) <= REPR_CHARACTERS_MAX else shown[:REPR_CHARACTERS_MAX] + "…"


def describe(error: BaseException, *, root: Path, redactor: Redactor) -> Failure:
    """Return what to show of `error`; files below `root` are the user's.

    An error that only carries another here (code that failed to load, an exception of Python's on its way
    between objects) is described by that one.
    """
    problems = getattr(error, "problems", ())
    original = _original(error)
    if isinstance(error, ConfigError) or (problems and original is error):
        texts = tuple(redactor.text(str(problem)) for problem in problems)
        return Failure(kind=_kind(error), message=redactor.text(str(error)), problems=texts)
    frames = list(_frames(original.__traceback__, root=root, redactor=redactor))
    if isinstance(original, SyntaxError) and original.filename:
        frames.append(_syntax_frame(original, root))
    stack = "".join(traceback.format_exception(original))
    return Failure(
        kind=_kind(original),
        message=redactor.text(_message(original)),
        frames=tuple(frames[-FRAMES_MAX:]),
        stack=redactor.text(stack),
    )


def user_frames(failure: Failure) -> tuple[Frame, ...]:
    """Return the frames of the user's own source, outermost first."""
    return tuple(frame for frame in failure.frames if frame.is_user)


def frame_text(frame: Frame) -> str:
    """Return the frame's source with line numbers and a caret under what failed."""
    lines = [f"{frame.file}:{frame.line} in {frame.function}"]
    width = len(str(max((line.number for line in frame.source), default=0)))
    for line in frame.source:
        marker = ">" if line.number == frame.line else " "
        lines.append(f"{marker} {line.number:>{width}} | {line.text}")
        if line.number == frame.line and frame.column is not None:
            carets = "^" * max(1, (frame.end_column or frame.column + 1) - frame.column)
            lines.append(f"  {' ' * width} | {' ' * frame.column}{carets}")
    return "\n".join(lines)


def failure_text(failure: Failure) -> str:
    """Return the whole failure for a terminal: the findings, or message and innermost source."""
    if failure.problems:
        return "\n".join(failure.problems)
    head = f"{failure.kind}: {failure.message}" if failure.message else failure.kind
    frames = user_frames(failure)
    return "\n\n".join([head, *(frame_text(frame) for frame in frames[-2:])])


def _original(error: BaseException) -> BaseException:
    while error.__cause__ is not None and _is_carrier(error):
        error = error.__cause__
    return error


def _is_carrier(error: BaseException) -> bool:
    """Whether an error says nothing itself; others are what the program met, whatever caused them."""
    return isinstance(error, UserCodeError) or (
        isinstance(error, JsException)
        and (error.name == "PythonError" or isinstance(error.__cause__, RecursionError))
    )


def _kind(error: BaseException) -> str:
    return error.name if isinstance(error, JsException) else type(error).__name__


def _message(error: BaseException) -> str:
    if isinstance(error, JsException):
        return error.message
    return error.msg if isinstance(error, SyntaxError) and error.msg else str(error)


def _frames(trace: TracebackType | None, *, root: Path, redactor: Redactor) -> Iterator[Frame]:
    summaries = traceback.extract_tb(trace)  # the only way that keeps columns
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    for summary, frame in zip(summaries, frames, strict=True):
        line = summary.lineno or 1
        is_user = _is_below(summary.filename, root)
        if not is_user:
            yield Frame(file=summary.filename, line=line, function=summary.name, is_user=False)
            continue
        source = _source(summary.filename, line)
        is_one_line = summary.end_lineno == line
        yield Frame(
            file=_relative(summary.filename, root),
            line=line,
            function=summary.name,
            is_user=True,
            source=tuple(
                SourceLine(number=each.number, text=redactor.text(each.text)) for each in source
            ),
            column=_characters(summary.filename, line, summary.colno),
            end_column=(
                _characters(summary.filename, line, summary.end_colno) if is_one_line else None
            ),
            values=tuple(_locals(frame, redactor)),
        )


def _characters(file: str, line: int, byte_offset: int | None) -> int | None:
    """Turn CPython's offset in UTF-8 bytes into one in characters."""
    if byte_offset is None:
        return None
    raw = linecache.getline(file, line).encode("utf-8", "surrogatepass")[:byte_offset]
    return len(raw.decode("utf-8", "ignore"))


def _locals(frame: FrameType, redactor: Redactor) -> Iterator[tuple[str, str]]:
    names = [name for name in frame.f_locals if not name.startswith("__")]
    if frame.f_code.co_name == "<module>":
        return
    for name in names[:LOCALS_MAX]:
        yield name, redactor.value(name, frame.f_locals[name])


def _syntax_frame(error: SyntaxError, root: Path) -> Frame:
    file, line = str(error.filename), error.lineno or 1
    column = max((error.offset or 1) - 1, 0)
    is_one_line = error.end_lineno in (None, line) and (error.end_offset or 0) > (error.offset or 1)
    return Frame(
        file=_relative(file, root),
        line=line,
        function="<module>",
        is_user=True,
        source=_source(file, line),
        column=column,
        end_column=(error.end_offset or 0) - 1 if is_one_line else column + 1,
    )


def _source(file: str, line: int) -> tuple[SourceLine, ...]:
    linecache.checkcache(file)
    numbers = range(max(1, line - CONTEXT_LINES), line + CONTEXT_LINES + 1)
    found = [(number, linecache.getline(file, number)) for number in numbers]
    return tuple(
        SourceLine(number=number, text=text.rstrip("\n")) for number, text in found if text
    )


def _is_below(file: str, root: Path) -> bool:
    path = Path(file)
    return path.is_relative_to(root) and not {"site-packages", ".venv"} & set(path.parts)


def _relative(file: str, root: Path) -> str:
    path = Path(file)
    return str(path.relative_to(root)) if path.is_relative_to(root) else file
