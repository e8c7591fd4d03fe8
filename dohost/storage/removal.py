"""Deleting all files of an object, or of one of its facets, so that a crash leaves nothing to be believed."""

from __future__ import annotations

import shutil
from pathlib import Path

from dohost.storage.directories import sync_directory

_LAST_FILE = ".removed"


def remove_files(path: Path) -> bool:
    """Delete all files beside `path` that bear its name, its own last; return whether there was any.

    Those of an object's facets bear the object's name, too. That the last file is gone is not durable yet.
    """
    removed = path.with_suffix(_LAST_FILE)
    if path.exists():
        path.rename(removed)
        # A file that came back without its log would show what was there before its last commits.
        sync_directory(path.parent)
    files = sorted(path.parent.glob(f"{path.stem}.*"), key=lambda each: each == removed)
    for each in files:
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink()
    return bool(files)
