"""What a test does inside an object: events of its own, and ending an instance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dohost.errors import CallerError
from dohost.objects.rpc import Reply
from dohost.runtime.actor import Actor


async def deliver(actor: Actor, entry: Callable[[], object]) -> object:
    """Run `entry` as an event of the object; its outcome comes back uncopied, when writes are durable."""
    reply = Reply(loop=asyncio.get_running_loop())
    actor.deliver(entry, _DirectSink(actor, reply))
    return await reply


def evict(actor: Actor) -> None:
    """End an instance gracefully. Raises: CallerError if it is not idle."""
    if not actor.evict_if_idle() and actor.broken is None:
        raise CallerError(
            f"{actor!r} can't be evicted: it has calls in flight, background work or a response that "
            "nobody has read. Let them end first, or use dohost.abort()."
        )


class _DirectSink:
    """Gives an event's own outcome, uncopied, when the writes before it are durable."""

    def __init__(self, actor: Actor, reply: Reply) -> None:
        self._actor = actor
        self._reply = reply

    def returned(self, value: object) -> None:
        self._when_durable(lambda: self._reply.resolve(value))

    def raised(self, error: BaseException) -> None:
        self._when_durable(lambda: self._reply.reject(error))

    def _when_durable(self, settle: Callable[[], None]) -> None:
        barrier = self._actor.barrier()
        if barrier is None:
            settle()
        else:
            barrier.add_callback(
                lambda failure: settle() if failure is None else self._reply.reject(failure)
            )
