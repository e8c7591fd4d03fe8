"""What crosses between objects, and when: copies in, copies out, each behind the output gate.

Arguments are copied at call time and results when they are produced, so neither side sees the other's
later changes. A result or an error is held until the writes it may depend on are durable; if they
fail, the caller hears that instead. The chunks of a streamed response are held one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers import Response
from workers.values import clone

from dohost.errors import DataCloneError
from dohost.objects.rpc import Reply, to_remote_error
from dohost.runtime.moved_streams import StreamMover
from dohost.runtime.origin import Origin
from dohost.runtime.references import give

if TYPE_CHECKING:
    from dohost.runtime.actor import Actor


def copy_arguments(args: tuple[object, ...]) -> tuple[object, ...]:
    """Return copies of a call's arguments, as the callee may keep and change them.

    Raises: DataCloneError if they are not plain data; `references.lend` passes what can be passed.
    """
    return tuple([clone(value) for value in args])


class RpcSink:
    """Gives the outcome of an RPC call to its caller when it may leave the object."""

    __slots__ = ("_actor", "_reply")

    def __init__(self, actor: Actor, reply: Reply) -> None:
        self._actor = actor
        self._reply = reply

    def returned(self, value: object) -> None:
        """Copy the result, then let it go."""
        try:
            value = self._convert(value)
        except Exception as error:  # noqa: BLE001 - a value that can't cross is the caller's error
            self.raised(error)
            return
        barrier = self._actor.barrier()
        if barrier is None:
            self._reply.resolve(value)
            return
        reply = self._reply
        barrier.add_callback(
            lambda failure: reply.resolve(value) if failure is None else reply.reject(failure)
        )

    def raised(self, error: BaseException) -> None:
        """Let the error go; a reset's own error is not wrapped again."""
        actor, reply = self._actor, self._reply
        if error is not actor.broken:
            error = to_remote_error(error, actor.key.object_id)
        barrier = actor.barrier()
        if barrier is None:
            reply.reject(error)
        else:
            barrier.add_callback(lambda failure: reply.reject(failure or error))

    def _convert(self, value: object) -> object:
        try:
            return clone(value)
        except DataCloneError:
            return give(value, Origin(self._actor))


class FetchSink(RpcSink):
    """The same for a fetch: the result is a Response."""

    __slots__ = ()

    def _convert(self, value: object) -> object:
        if not isinstance(value, Response):
            raise TypeError(
                f"fetch() of a Durable Object must return a Response, not {type(value).__name__}"
            )
        value.gate_body(StreamMover(Origin(self._actor)).readable)
        return value
