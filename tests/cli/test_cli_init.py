"""`dohost init`: each template makes a project whose check and tests pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from dohost.cli.group import run
from dohost.cli.init import TEMPLATES, make_project

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_tests_of_a_new_project_pass(
    template: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    make_project(pytester.path, template)
    result = pytester.runpytest_inprocess(
        "-p", "dohost.testing.plugin", "-p", "pytest_asyncio.plugin", "-W", "error"
    )
    outcomes = result.parseoutcomes()
    assert outcomes.get("passed", 0) >= 2
    assert set(outcomes) == {"passed"}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_project_has_no_problem(
    template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "My App", "--template", template]) == 0
    assert "cd My App" in capsys.readouterr().out
    assert (tmp_path / "My App/.vscode/launch.json").is_file()
    assert 'name = "my-app"' in (tmp_path / "My App/wrangler.toml").read_text()
    monkeypatch.chdir(tmp_path / "My App")
    assert run(["check"]) == 0, capsys.readouterr().err


def test_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrangler.toml").write_text("mine")
    assert run(["init"]) == 1
    assert "wrangler.toml already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["wrangler.toml"]
