"""Tasks: those that an object's code makes are turns of that object, all others are asyncio's own.

The loop's task factory finds the object from the running turn, else from the context: a callback of a
timer that an object started still belongs to it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine

from dohost.runtime.turns import await_it, current_owner, current_turn


def make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[object, object, object],
    *,
    context: contextvars.Context | None = None,
    **options: object,
) -> asyncio.Future[object]:
    """Make a task, or a turn of the object that is asking; the loop's task factory."""
    current = current_turn(loop)
    owner = current_owner.get() if current is None else current.owner
    if owner is None:
        return asyncio.Task(coro, loop=loop, context=context, **options)  # type: ignore[arg-type] # the loop's own options
    if not asyncio.iscoroutine(coro):
        coro = await_it(coro)
    if context is None:
        context = contextvars.copy_context()
    turn = owner.turn_type(owner, None, None, context)
    name = options.get("name")
    if name is not None:
        turn.set_name(name)
    turn.adopt(coro, current)
    return turn


def spawn(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[object, object, object], *, name: str
) -> asyncio.Task[object]:
    """Run host work for user code in a plain task with a clean context; only its result crosses back."""
    return asyncio.Task(coro, loop=loop, name=name, context=contextvars.Context())
