"""The pytest plugin: the marker `dohost`, the fixture of that name, and the host's log beside failures.

With pytest-asyncio (which pytest-aiohttp brings) the fixture lives in its loop, in strict mode too; without
it the plugin runs the tests that take the fixture itself.
"""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module

import pytest

from dohost.testing.host_fixture import HOST

EVENTS_SHOWN_MAX = 50


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the fixture that fits to what runs async tests."""
    config.addinivalue_line(
        "markers",
        "dohost(config=…, main=…, bindings=…, env=…, vars=…, evict_after_s=…, strict=…, fake_time=…): "
        "what the fixture `dohost` runs",
    )
    # By its module: its name is another one when it was loaded with -p.
    loaded = {getattr(plugin, "__name__", "") for plugin in config.pluginmanager.get_plugins()}
    has_asyncio = "pytest_asyncio.plugin" in loaded
    name = "with_pytest_asyncio" if has_asyncio else "with_own_loop"
    # By name, because the one can't be imported where pytest-asyncio is not installed.
    config.pluginmanager.register(import_module(f"dohost.testing.{name}"), "dohost-fixture")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the host logged beside a test that failed."""
    host = item.stash.get(HOST, None)
    if host is not None and call.when == "call" and call.excinfo is not None and host.events:
        lines = [
            f"{event.level:5} {event.name} "
            + " ".join(f"{name}={value}" for name, value in event.fields.items())
            for event in host.events[-EVENTS_SHOWN_MAX:]
        ]
        item.add_report_section("call", "dohost", "\n".join(lines))
    return (yield)
