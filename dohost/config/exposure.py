"""Whether a secrets file is where others see it: readable by everybody on the machine, or kept by git."""

from __future__ import annotations

import stat
from pathlib import Path

# The length of a path, in the low bits of two bytes, stands before it in git's index.
_LENGTH_MAX = 0xFFF


def exposures(path: Path, *, label: str) -> list[str]:
    """Return a warning for each way in which others see a secrets file."""
    found = []
    if path.stat().st_mode & stat.S_IROTH:
        found.append(f"{label}: every user of this machine can read it. Do: chmod 600 {label}")
    if is_in_git(path):
        found.append(
            f"{label}: git has it, so everybody who gets the repository has its secrets. Do: "
            f"git rm --cached {label}, name it in .gitignore, and replace the secrets."
        )
    return found


def is_in_git(path: Path) -> bool:
    """Whether the index of the repository around `path` has this file; git itself is not needed."""
    path = path.resolve()
    for directory in path.parents:
        index = directory / ".git" / "index"
        try:
            content = index.read_bytes()
        except OSError:
            continue
        name = path.relative_to(directory).as_posix().encode()
        return min(len(name), _LENGTH_MAX).to_bytes(2, "big") + name + b"\0" in content
    return False
