"""Secrets files that others see are warned of, without a word of what is in them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from config_files import read, write

from dohost.config.exposure import is_in_git

CANARY = "canary-5d1e0c"


def secrets_file(directory: Path, mode: int) -> Path:
    write(directory)
    path = directory / ".dev.vars"
    path.write_text(f"A={CANARY}")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("mode", "is_shared"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_file_that_everybody_can_read_is_warned_of(
    tmp_path: Path, mode: int, is_shared: bool
) -> None:
    secrets_file(tmp_path, mode)
    warnings = read(tmp_path).warnings
    assert CANARY not in "".join(warnings)
    expected = [
        ".dev.vars: every user of this machine can read it. Do: chmod 600 .dev.vars",
    ]
    assert list(warnings) == (expected if is_shared else [])


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git to make a repository")
def test_a_file_that_git_keeps_is_warned_of(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    project = tmp_path / "project"
    project.mkdir()
    path = secrets_file(project, 0o600)
    git("init")
    (project / ".dev.vars.example").write_text("A=")
    git("add", "project/.dev.vars.example")
    assert not is_in_git(path)
    assert read(project).warnings == ()
    git("add", "project/.dev.vars")
    assert is_in_git(path)
    (warning,) = read(project).warnings
    assert "git rm --cached .dev.vars" in warning
    assert CANARY not in warning
