"""What crosses between objects, and when: copies in, copies out, each behind the output gate.

Arguments are copied at call time and results when they are produced, so neither side sees the other's
later changes. A result or an error is held until the writes it may depend on are durable; if they
fail, the caller hears that instead. The chunks of a streamed response are held one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers import Request, Response
from workers.streams import ReadableStream
from workers.values import clone

from dohost.errors import DataCloneError, DohostError, JsException, StorageFailure
from dohost.objects.rpc import Reply, to_remote_error, told_as_js
from dohost.runtime.loans import Loan
from dohost.runtime.moved_streams import StreamMover
from dohost.runtime.origin import Origin
from dohost.runtime.references import give

if TYPE_CHECKING:
    from dohost.runtime.actor import Actor


class RpcSink:
    """Gives the outcome of an RPC call to its caller when it may leave the object."""

    __slots__ = ("_actor", "_began_at", "reply")

    def __init__(self, actor: Actor, reply: Reply) -> None:
        self._actor = actor
        self._began_at: int | None = actor.line.commits
        self.reply = reply

    def returned(self, value: object) -> None:
        """Copy the result, then let it go."""
        try:
            value = self._convert(value)
        except Exception as error:  # noqa: BLE001 - a value that can't cross is the caller's error
            self.raised(error)
            return
        reply = self.reply
        barrier = self._actor.output.barrier()
        if barrier is None:
            if not reply.done():
                reply.set_result(value)
            return
        barrier.add_callback(
            lambda failure: (
                reply.resolve(value) if failure is None else reply.reject(self._told(failure))
            )
        )

    def raised(self, error: BaseException) -> None:
        """Let the error go; a reset's own error is not wrapped again."""
        actor, reply = self._actor, self.reply
        is_reset = error is actor.broken
        error = self._told(error) if is_reset else to_remote_error(error, actor.key.object_id)
        barrier = actor.barrier()
        if barrier is None:
            reply.reject(error)
        else:
            # A reset says what became of this call; a commit that fails with it, of somebody else's.
            barrier.add_callback(
                lambda failure: reply.reject(
                    error if is_reset or failure is None else self._told(failure)
                )
            )

    def _told(self, failure: BaseException) -> BaseException:
        """Return what the caller hears of a reset or a failed commit, which may have been one of several."""
        if isinstance(failure, JsException):
            return failure
        is_longer = self._began_at not in (None, self._actor.line.commits)
        if is_longer and isinstance(failure, StorageFailure):
            failure = failure.of_longer_call()
        return to_remote_error(failure, self._actor.key.object_id)

    def refused(self, error: BaseException) -> None:
        """Let the caller know that the call does not arrive."""
        self.reply.reject(told_as_js(error) if isinstance(error, DohostError) else error)

    def _convert(self, value: object) -> object:
        try:
            return clone(value)
        except DataCloneError:
            return give(value, Origin(self._actor))


class RpcCall(RpcSink):
    """One RPC call: what it asks of its object, and the way back to its caller."""

    __slots__ = ("_args", "_method", "_name")

    def __init__(self, reply: Reply, name: str, args: tuple[object, ...]) -> None:
        # The actor is known when the call arrives: `deliver`.
        self._began_at = None
        self.reply = reply
        self._name = name
        self._args = args

    def deliver(self, actor: Actor) -> None:
        """Become an event of `actor`."""
        self._actor = actor
        # Now, not at the first step: a call that waits must not get a method of newer code.
        self._method = actor.object_class.methods.get(self._name)
        actor.deliver(self._enter, self)

    def _enter(self) -> object:
        actor = self._actor
        self._began_at = actor.line.commits
        method = self._method
        if method is None:
            raise actor.object_class.refusal(self._name, actor.instance)
        return method(actor.instance, *self._args)


class LendingCall(RpcCall):
    """A call whose arguments are not plain data: the stubs among them end with it."""

    __slots__ = ("_loan",)

    def __init__(self, reply: Reply, name: str, args: tuple[object, ...], loan: Loan) -> None:
        super().__init__(reply, name, args)
        self._loan = loan

    def refused(self, error: BaseException) -> None:
        super().refused(error)
        self._loan.end()

    def returned(self, value: object) -> None:
        super().returned(value)
        self._loan.end()

    def raised(self, error: BaseException) -> None:
        super().raised(error)
        self._loan.end()


class FetchCall(RpcSink):
    """One request that is sent to an object, and its response."""

    __slots__ = ("_request",)

    def __init__(self, reply: Reply, request: Request) -> None:
        self._began_at = None
        self.reply = reply
        self._request = request

    def deliver(self, actor: Actor) -> None:
        """Become an event of `actor`."""
        self._actor = actor
        actor.deliver(self._enter, self)

    def _enter(self) -> object:
        actor = self._actor
        self._began_at = actor.line.commits
        handler = actor.object_class.fetch_handler
        if handler is None:
            raise actor.object_class.refusal("fetch", actor.instance)
        return handler(actor.instance, self._request)

    def _convert(self, value: object) -> object:
        if not isinstance(value, Response):
            raise TypeError(
                f"fetch() of a Durable Object must return a Response, not {type(value).__name__}"
            )
        value.gate_body(self._moved)
        return value

    def _moved(self, stream: ReadableStream) -> ReadableStream:
        return StreamMover(Origin(self._actor)).readable(stream)
