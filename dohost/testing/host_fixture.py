"""From a test's file and markers to its host, whatever loop it runs in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dohost.errors import CallerError, UserCodeError

if TYPE_CHECKING:
    from dohost.testing.isolated import IsolatedHost

FIXTURE = "dohost"
HOST = pytest.StashKey["IsolatedHost"]()


@asynccontextmanager
async def host_for(request: pytest.FixtureRequest) -> AsyncIterator[IsolatedHost]:
    """Run the host of a test; what is wrong with its program fails the test, without a traceback."""
    # At first use: pytest imports this file at every start, also where no test needs a host.
    from dohost.testing import isolated, settings

    marked: dict[str, object] = {}
    for marker in request.node.iter_markers(FIXTURE):
        # The nearest comes first and wins.
        marked = {**marker.kwargs, **marked}
    directory: Path = request.getfixturevalue("tmp_path") / "dohost"
    try:
        program = settings.read_program(Path(request.path).parent, marked)
        async with isolated.isolated_host(program, directory) as host:
            request.node.stash[HOST] = host
            yield host
    except (CallerError, UserCodeError) as error:
        if HOST in request.node.stash:
            raise
        pytest.fail(str(error), pytrace=False)
