"""Which secrets files are read, and what they may say."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_config_load import read, write

from dohost.config import Overrides
from dohost.errors import ConfigError


def test_L5_dev_vars_override_vars_and_are_hidden(tmp_path: Path) -> None:
    write(tmp_path, {"vars": {"A": "plain", "B": "shown"}})
    (tmp_path / ".dev.vars").write_text("export A='secret'  # comment\nC=\"x y\"\n")
    (tmp_path / ".env").write_text("D=ignored")
    loaded = read(tmp_path)
    worker = loaded.workers[0]
    assert worker.vars == {"A": "secret", "B": "shown", "C": "x y"}
    assert worker.secret_names == {"A", "C"}
    assert loaded.notes == ("Using secrets defined in .dev.vars",)
    assert tmp_path / ".dev.vars" in loaded.files


def test_L5_the_environment_has_a_file_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, {"env": {"staging": {}, "other": {}}})
    (tmp_path / ".dev.vars").write_text("A=top")
    (tmp_path / ".dev.vars.staging").write_text("A=staging")
    assert read(tmp_path, env="staging").workers[0].vars == {"A": "staging"}
    assert read(tmp_path, env="other").workers[0].vars == {"A": "top"}


def test_later_dot_env_files_override_and_expand(tmp_path: Path) -> None:
    write(tmp_path, {"env": {"s": {}}})
    (tmp_path / ".env").write_text("A=1\nHOST=h")
    (tmp_path / ".env.local").write_text("URL=http://${HOST}/${OUTER}")
    (tmp_path / ".env.s").write_text("A=2")
    (tmp_path / ".env.s.local").write_text("A=3")
    values = read(tmp_path, env="s", process={"OUTER": "o"}).workers[0].vars
    assert values == {"A": "3", "HOST": "h", "URL": "http://h/o"}


def test_a_dollar_in_dev_vars_stays(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / ".dev.vars").write_text("P=a${B}c")
    assert read(tmp_path).workers[0].vars == {"P": "a${B}c"}


def test_dot_env_can_be_switched_off_and_the_process_let_in(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / ".env").write_text("A=1")
    off = read(tmp_path, process={"CLOUDFLARE_LOAD_DEV_VARS_FROM_DOT_ENV": "false"})
    assert off.workers[0].vars == {}
    switch = {"CLOUDFLARE_INCLUDE_PROCESS_ENV": "true", "B": "2"}
    assert read(tmp_path, process=switch).workers[0].vars == {"A": "1", **switch}


def test_env_file_replaces_the_look_up(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / ".dev.vars").write_text("A=1")
    (tmp_path / "one.env").write_text("B=2")
    overrides = Overrides(env_files=(Path("one.env"),), vars={"C": "cli", "B": "cli"})
    worker = read(tmp_path, overrides=overrides).workers[0]
    assert worker.vars == {"B": "cli", "C": "cli"}
    assert worker.secret_names == frozenset()


def test_a_missing_env_file_is_an_error(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ConfigError, match=r"gone\.env: can't be read"):
        read(tmp_path, overrides=Overrides(env_files=(Path("gone.env"),)))


def test_required_secrets_are_the_only_ones_and_missing_ones_are_told(tmp_path: Path) -> None:
    write(tmp_path, {"secrets": {"required": ["A", "B", "C"]}})
    (tmp_path / ".dev.vars").write_text("A=1\nX=2")
    (tmp_path / ".dev.vars").chmod(0o600)
    loaded = read(tmp_path, process={"B": "3"})
    assert loaded.workers[0].vars == {"A": "1", "B": "3"}
    assert loaded.warnings == (
        "Missing required secrets: C. Add them to .dev.vars, .env, or set as environment variables.",
    )


def test_a_line_that_is_no_assignment_is_told_without_its_content(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / ".dev.vars").write_text('A=1\nhunter2 is "my password\nB\n')
    loaded = read(tmp_path)
    assert loaded.workers[0].vars == {"A": "1"}
    assert any(warning.startswith(".dev.vars:2: ") for warning in loaded.warnings)
    assert "hunter2" not in "".join(loaded.warnings)
