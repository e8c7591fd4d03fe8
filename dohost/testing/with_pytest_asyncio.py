"""The fixture in pytest-asyncio's loop; imported only where that plugin is."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from dohost.testing.host_fixture import FIXTURE, host_for

if TYPE_CHECKING:
    from dohost.testing.isolated import IsolatedHost


@pytest_asyncio.fixture
async def dohost(request: pytest.FixtureRequest) -> AsyncIterator[IsolatedHost]:
    """An isolated host that runs the project's Worker; see dohost.testing.IsolatedHost."""
    async with host_for(request) as host:
        yield host


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem(name: str, obj: object) -> Generator[None, object, object]:
    """Mark async tests that take the fixture, before pytest-asyncio looks for its mark."""
    made = yield
    for item in made if isinstance(made, list) else [made]:
        if (
            isinstance(item, pytest.Function)
            and FIXTURE in item.fixturenames
            and inspect.iscoroutinefunction(obj)
            and item.get_closest_marker("asyncio") is None
        ):
            item.add_marker("asyncio")
    return made
