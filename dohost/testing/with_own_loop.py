"""The fixture in a loop of its own, in which the async tests that take it run, too."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from dohost.testing.host_fixture import host_for

if TYPE_CHECKING:
    from dohost.testing.isolated import IsolatedHost

_RUNNER = pytest.StashKey[asyncio.Runner]()


@pytest.fixture
def dohost(request: pytest.FixtureRequest) -> Iterator[IsolatedHost]:
    """An isolated host that runs the project's Worker; see dohost.testing.IsolatedHost."""
    with asyncio.Runner() as runner:
        request.node.stash[_RUNNER] = runner
        context = host_for(request)
        yield runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test in the loop of its fixture."""
    runner = pyfuncitem.stash.get(_RUNNER, None)
    if runner is None or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = inspect.signature(pyfuncitem.obj).parameters
    runner.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in arguments}))
    return True
