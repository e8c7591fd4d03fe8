"""What a traced process did to the disk, in order: the calls of one run as values.

`strace` sees every call of every thread and every library alike: SQLite's own, both copies of it (apsw's
and the standard library's), and ours. So nothing that writes can be forgotten, and no seam in the product
is needed. A write takes effect where its call begins; a sync promises, when it *returns*, what had been
written before it *began*. Pure: text in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

CALLS = "openat,write,pwrite64,writev,pwritev,fsync,fdatasync,ftruncate,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,fallocate,link,linkat"


class Created(msgspec.Struct, frozen=True):
    """A file or directory has a new entry in its directory."""

    path: str


class Removed(msgspec.Struct, frozen=True):
    path: str


class Renamed(msgspec.Struct, frozen=True):
    path: str
    new_path: str


class Linked(msgspec.Struct, frozen=True):
    """A file has a second name."""

    path: str
    new_path: str


class Wrote(msgspec.Struct, frozen=True):
    path: str
    offset: int
    content: bytes


class Truncated(msgspec.Struct, frozen=True):
    path: str
    size: int


class SyncBegan(msgspec.Struct, frozen=True):
    """A sync of a file or directory; `number` is repeated by its end."""

    path: str
    number: int


class SyncEnded(msgspec.Struct, frozen=True):
    path: str
    number: int


class SyncFailed(msgspec.Struct, frozen=True):
    """A sync was reported to have failed: what was not written is dropped, though it is still shown."""

    path: str


class Left(msgspec.Struct, frozen=True):
    """An answer has left: `text` was written to the file of acknowledgements."""

    text: str


Effect = (
    Created
    | Removed
    | Renamed
    | Linked
    | Wrote
    | Truncated
    | SyncBegan
    | SyncEnded
    | SyncFailed
    | Left
)

_LINE = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<rest>.*)")
_RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)")
_FD = re.compile(r"(?P<fd>\d+)<(?P<path>[^>]*)>")
_STRING = re.compile(r'"(?P<hex>[^"]*)"(?P<cut>\.\.\.)?')
_FAILED = re.compile(r"= -1 E")


class TraceError(Exception):
    """The trace holds a call that this reader does not understand; guessing would prove nothing."""


def strace(trace: str) -> list[str]:
    """Return the command that traces what follows it."""
    return ["strace", "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", trace]


def effects(lines: Iterable[str], *, root: str, acks: str) -> Iterator[Effect]:
    """Yield what happened below `root`; writes to the file `acks` become `Left`.

    Raises: TraceError for a call below `root` that is not understood.
    """
    return _Reader(root, acks).read(lines)


class _Reader:
    def __init__(self, root: str, acks: str) -> None:
        self._root = root
        self._acks = acks
        self._known: set[str] = set()
        self._positions: dict[str, int] = {}
        self._began: dict[str, tuple[str, SyncBegan | str]] = {}
        self._syncs = 0

    def read(self, lines: Iterable[str]) -> Iterator[Effect]:
        for line in lines:
            resumed = _RESUMED.match(line)
            if resumed is not None:
                yield from self._resumed(resumed["pid"], resumed["call"], resumed["rest"])
                continue
            called = _LINE.match(line)
            if called is not None and self._root in _unescape_all(called["rest"][:2000]):
                yield from self._called(called["pid"], called["call"], called["rest"])

    def _resumed(self, pid: str, call: str, rest: str) -> Iterator[Effect]:
        began = self._began.pop(pid, None)
        if began is None or began[0] != call:
            return
        if isinstance(began[1], SyncBegan):
            if not _FAILED.search(rest):
                yield SyncEnded(began[1].path, began[1].number)
        else:
            yield from self._opened(began[1] + rest)

    def _called(self, pid: str, call: str, rest: str) -> Iterator[Effect]:
        is_unfinished = rest.endswith("<unfinished ...>")
        match call:
            case "fsync" | "fdatasync":
                self._syncs += 1
                began = SyncBegan(_path_of_fd(rest)[1], self._syncs)
                yield began
                if is_unfinished:
                    self._began[pid] = (call, began)
                elif not _FAILED.search(rest):
                    yield SyncEnded(began.path, began.number)
            case "openat" if is_unfinished:
                self._began[pid] = (call, rest.removesuffix("<unfinished ...>"))
            case "openat":
                yield from self._opened(rest)
            case _ if _FAILED.search(rest[-60:]):
                return
            case "write" | "pwrite64":
                yield self._wrote(call, rest)
            case "ftruncate":
                yield Truncated(_path_of_fd(rest)[1], _number(rest.split(">, ")[1]))
            case "unlink":
                path = _strings(rest)[0]
                self._known.discard(path)
                yield Removed(path)
            case "unlinkat":
                # A tree is removed name by name, below descriptors of its directories.
                path = f"{_path_of_fd(rest)[1]}/{_strings(rest)[0]}"
                self._known.discard(path)
                yield Removed(path)
            case "link":
                path, new_path = _strings(rest)
                self._known.add(new_path)
                yield Linked(path, new_path)
            case "mkdir":
                yield Created(_strings(rest)[0])
            case "rename":
                path, new_path = _strings(rest)
                self._known.discard(path)
                self._known.add(new_path)
                yield Renamed(path, new_path)
            case _:
                raise TraceError(f"{call}({_unescape_all(rest[:200])}")

    def _opened(self, rest: str) -> Iterator[Effect]:
        if _FAILED.search(rest[-60:]):
            return
        fd, path = _path_of_fd(rest.rpartition("= ")[2])
        self._positions[fd] = 0
        if not path.startswith(self._root):
            return
        if "O_CREAT" in rest and path not in self._known:
            self._known.add(path)
            yield Created(path)
        elif "O_TRUNC" in rest:
            yield Truncated(path, 0)

    def _wrote(self, call: str, rest: str) -> Wrote | SyncFailed | Left:
        fd, path = _path_of_fd(rest)
        found = _STRING.search(rest)
        if found is None or found["cut"]:
            raise TraceError(f"a write without its whole content: {rest[:80]}")
        content = bytes.fromhex(found["hex"].replace("\\x", ""))
        if path == self._acks:
            text = content.decode()
            failed = text.removeprefix("failed ")
            return Left(text) if failed == text else SyncFailed(failed.rstrip("\n"))
        if call == "pwrite64":
            return Wrote(path, _number(rest[found.end() :].split(", ")[2]), content)
        position = self._positions.get(fd, 0)
        self._positions[fd] = position + len(content)
        return Wrote(path, position, content)


def _path_of_fd(text: str) -> tuple[str, str]:
    found = _FD.search(text)
    if found is None:
        raise TraceError(f"no descriptor in {text[:80]}")
    return found["fd"], _unescape(found["path"]).removesuffix(" (deleted)")


def _number(text: str) -> int:
    found = re.match(r"\d+", text)
    if found is None:
        raise TraceError(f"no number in {text[:80]}")
    return int(found[0])


def _strings(text: str) -> list[str]:
    return [_unescape(found["hex"]) for found in _STRING.finditer(text)]


def _unescape(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode()


def _unescape_all(text: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)
