"""What the console shows, as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from dohost.config import (
    AssetsConfig,
    DurableObjectBinding,
    ServiceBinding,
    UnsupportedBinding,
    WorkerConfig,
)
from dohost.dev.banner import binding_rows, bindings_text
from dohost.dev.hotkeys import Hotkey, find_hotkey, hotkey_box
from dohost.dev.request_lines import request_text, status_colour


def worker(**fields: object) -> WorkerConfig:
    return WorkerConfig(
        name="app", main=Path("/p/entry.py"), config_path=Path("/p/w.toml"), **fields
    )


def test_the_table_of_bindings_reads_as_wranglers() -> None:
    rows = binding_rows(
        worker(
            durable_objects=(
                DurableObjectBinding(name="COUNTER", class_name="Counter"),
                DurableObjectBinding(name="OTHER", class_name="Room", script_name="chat"),
            ),
            services=(ServiceBinding(binding="S", service="auth", entrypoint="Admin"),),
            assets=AssetsConfig(directory=Path("/p/public"), binding="FILES"),
            unsupported=(UnsupportedBinding(kind="AI", binding="AI"),),
            vars={"GREETING": "hello", "API_KEY": "sekrit"},
            secret_names=frozenset({"API_KEY"}),
        ),
        running={"app", "auth"},
    )
    assert bindings_text(rows).plain == (
        "Your Worker has access to the following bindings:\n"
        "Binding                              Resource                Mode\n"
        "env.COUNTER (Counter)                Durable Object          local\n"
        "env.OTHER (Room, defined in chat)    Durable Object          local [not connected]\n"
        "env.FILES                            Assets                  local\n"
        "env.S (auth#Admin)                   Worker                  local [connected]\n"
        "env.AI                               AI                      not supported\n"
        'env.GREETING ("hello")               Environment Variable    local\n'
        'env.API_KEY ("(hidden)")             Environment Variable    local\n'
    )


def test_no_bindings_is_a_sentence() -> None:
    assert bindings_text([]).plain == "No bindings found.\n"


def test_a_long_value_is_cut_and_stays_on_one_line() -> None:
    rows = binding_rows(worker(vars={"A": "x\n" * 100}), running=())
    assert rows[0].binding.endswith('..."') or rows[0].binding.endswith("...)")
    assert "\n" not in rows[0].binding
    assert len(rows[0].binding) < 100


def test_a_request_line_has_no_query_and_no_control_characters() -> None:
    line = request_text("GET", "/a\x1b[2J?token=x", status=200, duration_ms=11.6)
    assert line.plain == "[dohost] GET /a\\x1b[2J 200 OK (12ms)"


def test_an_unknown_status_has_no_reason() -> None:
    assert request_text("GET", "/", status=599, duration_ms=0).plain == "[dohost] GET / 599 (0ms)"


@pytest.mark.parametrize(
    ("status", "colour"),
    [(200, "green"), (304, "blue"), (404, "yellow"), (503, "red"), (0, "blue")],
)
def test_the_colour_says_how_it_went(status: int, colour: str) -> None:
    assert status_colour(status) == colour


def test_hotkeys_wrap_when_the_terminal_is_narrow() -> None:
    keys = [
        Hotkey(keys=("b",), label="open a browser", action=lambda: None),
        Hotkey(keys=("x", "q"), label="exit", action=lambda: None),
    ]
    assert hotkey_box(keys, width=80).splitlines()[1] == "│ [b] open a browser [x] exit │"
    assert len(hotkey_box(keys, width=20).splitlines()) == 4
    assert find_hotkey(keys, "Q") is keys[1]
    assert find_hotkey(keys, "z") is None
