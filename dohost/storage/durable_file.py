"""Replacing a small file so that after a crash it is the old one or the new one, whole."""

from __future__ import annotations

import os
from pathlib import Path

from dohost.storage.directories import sync_directory


def write_durably(path: Path, content: bytes) -> None:
    """Replace the file at `path`; when this returns, the new content survives a power cut.

    Raises: OSError; then nothing is left beside the old file.
    """
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
