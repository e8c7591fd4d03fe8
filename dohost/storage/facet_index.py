"""The names of an object's facets: `<id>.facets`, in the format of Cloudflare's local runtime.

A facet is known by its parent's number and its own name; its number, which is part of its file's name, is
the place of its entry. The object itself is number 0. Entries are only ever added: a facet that is deleted
keeps its number. An entry is written and synced before the facet's first write is acknowledged, and with it
all before it. What a crash has left of an entry at the end is nothing, and is written over. So is an index that
begins with zeros, which a power cut may leave of a new one: nothing in it was durable. Whoever knows better
(`is_unfinished`) has to refuse it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from dohost.errors import JsException, Quarantined
from dohost.storage.directories import sync_directory

FACETS_MAX = 0xFFFF
_ENTRY_BYTES_MAX = 4 + 256
_MAGIC = bytes.fromhex("57efb0c55bcecdc4")


def is_facet(object_id: str) -> bool:
    """Return whether an id, or the stem of a file, is a facet's."""
    return "." in object_id


def index_path(path: Path) -> Path:
    """Return where the index beside an object's file is."""
    return path.with_suffix(".facets")


def facet_path(path: Path, number: int) -> Path:
    """Return the file of a facet of the object whose file is `path`."""
    return path.with_suffix(f".{number}.sqlite")


def facet_files(path: Path) -> list[Path]:
    """Return the files of an object's facets, in the order of their numbers.

    Raises: Quarantined if their index is damaged. A file that it does not know holds nothing that counts.
    """
    if not index_path(path).exists():
        return []
    numbers = range(1, FacetIndex(path).last + 1)
    return [each for number in numbers if (each := facet_path(path, number)).exists()]


class FacetIndex:
    """The facets of one object. Numbers are given out on the loop; `save` runs in threads."""

    def __init__(self, path: Path) -> None:
        """Read the index beside the object's file `path`. Raises: Quarantined if it is damaged."""
        self._path = index_path(path)
        self._lock = threading.Lock()
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            content = b""
        start = content[: len(_MAGIC)]
        self.is_unfinished = len(start) == len(_MAGIC) and not any(start)
        if self.is_unfinished:
            content = b""
        self._entries = _parsed(content, self._path)
        self._numbers = {entry: number for number, entry in enumerate(self._entries, start=1)}
        is_begun = len(content) >= len(_MAGIC)
        self._saved_bytes = len(_encoded(self._entries)) if is_begun else 0
        self._saved = len(self._entries)

    def number(self, parent: int, name: str) -> int | None:
        """Return the number of a facet, if it has one."""
        return self._numbers.get((parent, name))

    def add(self, parent: int, name: str) -> int:
        """Return the number of a facet; a new one is in memory until `save`."""
        entry = (parent, name)
        number = self._numbers.get(entry)
        if number is None:
            if len(self._entries) >= FACETS_MAX:
                raise JsException("Maximum number of facets exceeded")
            self._entries.append(entry)
            number = self._numbers[entry] = len(self._entries)
        return number

    @property
    def last(self) -> int:
        """The greatest number that was given out."""
        return len(self._entries)

    def name(self, number: int) -> str | None:
        """Return the name of a facet; the object itself has none here."""
        return self._entries[number - 1][1] if number else None

    def is_saved(self, number: int) -> bool:
        """Return whether a facet's entry is durable."""
        return number <= self._saved

    def children(self, parent: int) -> list[tuple[int, str]]:
        """Return the numbers and names of the facets right below one."""
        return [
            (number, name)
            for number, (above, name) in enumerate(self._entries, start=1)
            if above == parent
        ]

    def family(self, number: int) -> list[int]:
        """Return a facet and all below it."""
        below = [each for child, _ in self.children(number) for each in self.family(child)]
        return [number, *below]

    def save(self) -> None:
        """Make every entry durable; blocks. Raises: OSError."""
        with self._lock:
            entries = list(self._entries)
            content = _encoded(entries)
            added = content[self._saved_bytes :]
            if not added:
                return
            is_new = self._saved_bytes == 0
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
            try:
                os.ftruncate(descriptor, self._saved_bytes)
                offset = self._saved_bytes
                while offset < len(content):
                    offset += os.pwrite(descriptor, content[offset:], offset)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                sync_directory(self._path.parent)
            self._saved_bytes, self._saved = len(content), len(entries)


def _encoded(entries: list[tuple[int, str]]) -> bytes:
    parts = [_MAGIC]
    for parent, name in entries:
        encoded = name.encode("utf-8", "surrogatepass")
        parts.append(parent.to_bytes(2, "little") + len(encoded).to_bytes(2, "little") + encoded)
    return b"".join(parts)


def _parsed(content: bytes, path: Path) -> list[tuple[int, str]]:
    entries: list[tuple[int, str]] = []
    if not _MAGIC.startswith(content[: len(_MAGIC)]):
        raise Quarantined(f"{path} is no index of facets; its object's facets can't be told apart")
    offset = len(_MAGIC)
    while offset + 4 <= len(content):
        parent = int.from_bytes(content[offset : offset + 2], "little")
        end = offset + 4 + int.from_bytes(content[offset + 2 : offset + 4], "little")
        # A power cut may leave zeros in an entry that was being written.
        is_torn = end == offset + 4 and len(content) - offset <= _ENTRY_BYTES_MAX
        if end > len(content) or is_torn or not any(content[offset:]):
            break
        try:
            name = content[offset + 4 : end].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            name = ""
        if parent > len(entries) or not name:
            raise Quarantined(f"{path} is damaged at byte {offset}")
        entries.append((parent, name))
        offset = end
    return entries
