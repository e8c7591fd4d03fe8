"""Static assets in the configuration: sites without code, and the directory that a flag names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from config_files import read

from dohost.config import Loaded, Overrides
from dohost.errors import ConfigError

ASSETS = {"directory": "public"}


def read_site(directory: Path, *, overrides: Overrides | None = None, **changes: object) -> Loaded:
    """Read a project with a directory of files and no code; `changes` come into its configuration."""
    (directory / "public").mkdir()
    config = {"name": "site", "compatibility_date": "2026-08-01", **changes}
    (directory / "wrangler.json").write_text(json.dumps(config))
    return read(directory, overrides=overrides)


def test_a_site_needs_no_main_and_no_flag(tmp_path: Path) -> None:
    worker = read_site(tmp_path, assets=ASSETS).workers[0]
    assert worker.main is None
    assert worker.assets is not None
    assert worker.assets.directory == tmp_path / "public"
    assert worker.source_directory == tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"assets": {**ASSETS, "binding": "FILES"}}, '"binding" of "assets" needs a Worker'),
        (
            {"assets": {**ASSETS, "run_worker_first": True}},
            '"run_worker_first" of "assets" needs a Worker',
        ),
        (
            {
                "assets": ASSETS,
                "durable_objects": {"bindings": [{"name": "A", "class_name": "Counter"}]},
            },
            "The classes Counter need a Worker",
        ),
        ({}, 'Missing "main"'),
    ],
)
def test_what_needs_code_is_refused_without_it(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_site(tmp_path, **changes)
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


@pytest.mark.parametrize("changes", [{}, {"assets": {"directory": "nowhere"}}])
def test_a_flag_names_the_directory(tmp_path: Path, changes: dict[str, object]) -> None:
    overrides = Overrides(assets=tmp_path / "public")
    worker = read_site(tmp_path, overrides=overrides, **changes).workers[0]
    assert worker.assets is not None
    assert worker.assets.directory == tmp_path / "public"


def test_a_flag_leaves_the_other_settings_of_assets(tmp_path: Path) -> None:
    overrides = Overrides(assets=tmp_path / "public")
    settings = {"directory": "nowhere", "not_found_handling": "404-page"}
    assets = read_site(tmp_path, overrides=overrides, assets=settings).workers[0].assets
    assert assets is not None
    assert assets.not_found_handling == "404-page"


def test_a_flag_that_names_no_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_site(tmp_path, overrides=Overrides(assets=tmp_path / "nowhere"))
    assert any("was not found" in problem for problem in caught.value.problems)
