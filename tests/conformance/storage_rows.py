"""How the rows about storage reach one: code runs as an event inside an object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from dohost.storage.storage import DurableObjectStorage
from dohost.testing import IsolatedHost

Result = TypeVar("Result")


def store(dohost: IsolatedHost, name: str = "a"):
    """Return a new stub of the object `name`."""
    return dohost.env.STORE.getByName(name)


async def inside(
    dohost: IsolatedHost,
    function: Callable[[DurableObjectStorage], Awaitable[Result] | Result],
) -> Result:
    """Run `function(storage)` as an event of the object `a`."""
    return await dohost.run_in_object(
        store(dohost), lambda instance, state: function(state.storage)
    )


async def query(dohost: IsolatedHost, text: str, *bindings: object) -> list[dict[str, object]]:
    """Return the rows of one SQL text, run as an event of its own."""
    return await inside(
        dohost, lambda storage: [dict(row) for row in storage.sql.exec(text, *bindings)]
    )
