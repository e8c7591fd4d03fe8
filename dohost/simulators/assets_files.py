"""The files of a directory of static assets: which there are, and their bytes.

A request is only ever compared with the paths that `scan` found, so none can name a file outside, a
device, or the host's data. Left out: hidden files and directories (but `.well-known`), what `.assetsignore`
names, the files of rules, the data directory, and links that lead out of the directory. A file that has
changed since is served as it is now.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from workers.streams import ReadableStream

from dohost.errors import UserCodeError
from dohost.simulators.assets_ignore import IgnorePatterns
from dohost.simulators.chunks import CHUNK_BYTES, chunks_of
from dohost.simulators.content_types import content_type_of
from dohost.simulators.failures import failed_file

IGNORE_FILE, HEADERS_FILE, REDIRECTS_FILE = ".assetsignore", "_headers", "_redirects"
FILES_MAX = 100_000
FILE_BYTES_MAX = 25 * 1024 * 1024
# A process without descriptors or a disk that fails says nothing about whether a file is there.
_SAY_NOTHING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO})


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """A file, by the path of its URL before it is encoded."""

    path: str
    file: Path
    content_type: str | None


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What an opened file holds: its tag (`ETag`), and its bytes unless nobody asked for them."""

    tag: str
    size: int
    body: bytes | ReadableStream | None


def scan(directory: Path, *, data: Path) -> dict[str, Asset]:
    """Return the files to serve, by path. Raises: OSError; UserCodeError for more than Cloudflare takes."""
    root = directory.resolve()
    ignored = IgnorePatterns(
        f"/{IGNORE_FILE}\n/{HEADERS_FILE}\n/{REDIRECTS_FILE}\n{read_text(root / IGNORE_FILE) or ''}"
    )
    data = data.resolve()
    found: dict[str, Asset] = {}
    for name, entry in _walk(root, "", ignored, data):
        file = Path(os.path.realpath(entry.path))
        if entry.is_symlink() and not _is_public(file, root, data):
            continue
        try:
            state = file.stat()
        except OSError:  # a link to nothing, or a file that has gone meanwhile
            continue
        if not stat.S_ISREG(state.st_mode):
            continue
        if state.st_size > FILE_BYTES_MAX:
            raise UserCodeError(
                f"Asset too large: {file} has {state.st_size} bytes. Cloudflare serves files of up to "
                f"{FILE_BYTES_MAX // 2**20} MiB; move it elsewhere or name it in {IGNORE_FILE}."
            )
        path = f"/{name}"
        found[path] = Asset(path=path, file=file, content_type=content_type_of(name))
    if len(found) > FILES_MAX:
        raise UserCodeError(
            f"Maximum number of assets exceeded: {root} holds {len(found):,} files, and Cloudflare "
            f"takes {FILES_MAX:,}."
        )
    return found


async def open_asset(asset: Asset, *, with_body: bool) -> Content | None:
    """Return what the file holds now, or None if it is gone. Raises: HostError if that can't be seen now."""
    try:
        opened = await asyncio.to_thread(_open, asset.file, with_body=with_body)
    except OSError as error:
        raise failed_file(error) from error
    if opened is None:
        return None
    tag, size, body = opened
    if isinstance(body, bytes) or body is None:
        return Content(tag=tag, size=size, body=body)
    stream = ReadableStream(chunks_of(asset.file, body, size, asyncio.to_thread))
    return Content(tag=tag, size=size, body=stream)


def read_text(path: Path) -> str | None:
    """Return the text of a file, or None if it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _walk(
    directory: Path, prefix: str, ignored: IgnorePatterns, data: Path
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            name = f"{prefix}{entry.name}"
            if entry.name.startswith(".") and name != ".well-known":
                continue
            if not _is_text(name) or ignored.match(name):
                continue
            # A directory's link is not followed: it could lead out, or in circles.
            if entry.is_dir(follow_symlinks=False):
                if Path(entry.path) != data:
                    yield from _walk(Path(entry.path), f"{name}/", ignored, data)
            else:
                yield name, entry


def _is_public(file: Path, root: Path, data: Path) -> bool:
    """Whether a link may lead to `file`."""
    if not file.is_relative_to(root) or file.is_relative_to(data):
        return False
    parts = file.relative_to(root).parts
    return not any(part.startswith(".") and part != ".well-known" for part in parts)


def _is_text(name: str) -> bool:
    """Whether a URL can name the file: names that are no UTF-8 can't stand in one."""
    return "\\" not in name and all(not "\ud800" <= each <= "\udfff" for each in name)


def _open(file: Path, *, with_body: bool) -> tuple[str, int, bytes | BinaryIO | None] | None:
    """Open a file that was found before; a link in its place is not followed."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _SAY_NOTHING:
            raise
        return None
    opened = os.fdopen(descriptor, "rb")
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            opened.close()
            return None
        text = f"{file}\0{state.st_mtime_ns}\0{state.st_size}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape"))
        tag = f'"{digest.hexdigest()[:32]}"'
        if with_body and state.st_size > CHUNK_BYTES:  # sent as the client takes it
            return tag, state.st_size, opened
        body = opened.read(state.st_size) if with_body else None
    except BaseException:
        opened.close()
        raise
    opened.close()
    return tag, state.st_size, body
