"""The README tells the truth: its commands are the ones we test, its examples run, its keys exist.

A block that is to be run has `<!-- test: run -->` on the line above its fence: Python is executed
in a fresh namespace, TOML and JSON are parsed, and a `[vars.GATEWAY…]` table is read as configuration.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dohost.gateway.config import GatewayConfig, decode

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
SET_UP = "pip install -e '.[test]'"
RUN = "dohost dev"
CURLS = (
    "curl http://localhost:8787/api/v1/users/alice",
    "curl -X POST http://localhost:8787/api/aggregate",
    "curl http://localhost:8787/api/rate-limit/status",
    "curl -X POST http://localhost:8787/graphql",
)
FENCE = re.compile(
    r"(?P<marker><!-- test: run -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
LINK = re.compile(r"\]\((?!https?://|#|mailto:)(?P<target>[^)#\s]+)")


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A fenced block of the README."""

    language: str
    text: str
    line: int
    is_run: bool


def blocks() -> Iterator[Block]:
    """Yield the README's fenced blocks."""
    for found in FENCE.finditer(README):
        yield Block(
            language=found["language"],
            text=found["text"],
            line=README.count("\n", 0, found.start("text")),
            is_run=found["marker"] is not None,
        )


def to_run(*languages: str) -> list[object]:
    """Return the blocks of some languages that are to be run, as parameters of a test."""
    return [
        pytest.param(block, id=f"line-{block.line}")
        for block in blocks()
        if block.is_run and block.language in languages
    ]


@pytest.mark.parametrize("command", [SET_UP, RUN, *CURLS])
def test_the_readme_shows_the_command_as_it_is_tested(command: str) -> None:
    assert any(command in block.text for block in blocks())


@pytest.mark.parametrize("block", to_run("python"))
def test_an_example_runs(block: Block) -> None:
    code = compile("\n" * block.line + block.text, "README.md", "exec")
    exec(code, {"__name__": "readme"})


@pytest.mark.parametrize("block", to_run("toml", "json"))
def test_a_configuration_in_the_readme_is_valid(block: Block) -> None:
    parsed = tomllib.loads(block.text) if block.language == "toml" else json.loads(block.text)
    given = parsed.get("vars", {})
    if "GATEWAY" in given:
        decoded = decode(given)
        assert isinstance(decoded, GatewayConfig), decoded


def test_every_file_that_the_readme_links_to_exists() -> None:
    missing = [
        found["target"] for found in LINK.finditer(README) if not (ROOT / found["target"]).exists()
    ]
    assert missing == []


def test_the_projects_own_configuration_is_valid() -> None:
    config = tomllib.loads((ROOT / "wrangler.toml").read_text("utf-8"))
    bindings = frozenset(each["name"] for each in config["durable_objects"]["bindings"])
    decoded = decode(config["vars"], bindings=bindings)
    assert isinstance(decoded, GatewayConfig), decoded


def test_every_gateway_table_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"\[vars\.GATEWAY\.(\w+)", README))
    assert named <= set(GatewayConfig.__struct_fields__)
