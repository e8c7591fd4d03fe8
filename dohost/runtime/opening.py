"""The end of an instance's construction: until then no WebSocket frame leaves.

The constructor runs first, and the sections that it requested (`blockConcurrencyWhile`) belong to it. What a
failing construction sent is never delivered, because its sockets break with it. Nothing here costs an
instance that sends no frame while it is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dohost.gates import Batch, InputGate, OutputGate

if TYPE_CHECKING:
    from dohost.runtime.actor import Actor


class Opened(Protocol):
    """An instance, as its opening sees it."""

    gate: InputGate
    output: OutputGate
    instance: object | None
    broken: BaseException | None


class Opening:
    """What the frames of a construction wait for; a waiter at the instance's input gate."""

    __slots__ = ("_batch", "_owner")

    def __init__(self, owner: Opened) -> None:
        self._owner = owner
        self._batch: Batch | None = None

    def barrier(self) -> Batch | None:
        """Return what a frame that is sent now has to wait for beside writes."""
        owner = self._owner
        if owner.instance is None and owner.broken is None and self._batch is None:
            self._batch = Batch()
        batch = self._batch
        return None if batch is None or batch.is_done else batch

    def constructed(self) -> None:
        """The constructor has returned; wait for the sections that it requested."""
        gate = self._owner.gate
        if gate.root.starts:
            if self._batch is None:
                self._batch = Batch()
            gate.wait(gate.root, self)
        elif self._batch is not None:
            self.proceed()

    def proceed(self) -> None:
        """Let the frames go when what the construction wrote is durable."""
        batch = self._batch
        assert batch is not None, "who waits has made it"
        writes = self._owner.output.barrier()
        if writes is None:
            batch.finish(None)
        else:
            writes.add_callback(batch.finish)

    def abandon(self, error: BaseException) -> None:
        """The construction failed: its frames went with the sockets."""


class Construction:
    """The outcome of the constructor: nothing, or a reset."""

    __slots__ = ("_actor",)

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def returned(self, value: object) -> None:
        self._actor.opening.constructed()

    def raised(self, error: BaseException) -> None:
        actor = self._actor
        if actor.broken is None:
            actor.reset(actor.object_class.constructor_error(error, actor.key.object_id))
