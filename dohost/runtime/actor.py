"""An actor: one live instance of one object, with its gates.

Lifecycle: *created* (nothing has run) → *started* (its constructor ran, as the first turn) → *evicted*
(idle: memory dropped, storage closed, the next event makes a new actor) or *reset* (an error that the
instance can't survive: uncommitted writes are dropped, every call in flight and every later call on a
stub that had reached this instance gets that error, and the next new stub makes a new actor).

The actor is what the storage, the gates, `ctx` and the commit call back: it ties them together and
holds no policy of its own. Its name for a failure is always the first one.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from workers.context import current_ctx, current_sockets
from workers.entrypoint import DurableObjectAbort
from workers.socket_end import Close

from dohost.errors import HostError, JsException
from dohost.gates import Batch, InputGate, OutputGate
from dohost.objects.id import DurableObjectId
from dohost.objects.rpc import Reply, to_remote_error
from dohost.objects.state import DurableObjectState
from dohost.runtime.aftermath import Aftermath
from dohost.runtime.calls import RpcSink
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.commits import Commits
from dohost.runtime.cpu import CpuAccount, MeteredTurn
from dohost.runtime.custom_task import NEUTRAL
from dohost.runtime.hibernation import Hibernation
from dohost.runtime.opening import Construction, Opening
from dohost.runtime.sections import Section
from dohost.runtime.sockets import ActorSockets
from dohost.runtime.turns import Nesting, Sink, Turn, current_owner
from dohost.storage.commit import CommitLine
from dohost.storage.database import Database, ObjectMeta
from dohost.storage.opening import open_object
from dohost.storage.storage import DurableObjectStorage

if TYPE_CHECKING:
    from dohost.runtime.facets import Facets
    from dohost.runtime.registry import ObjectClass

Result = TypeVar("Result")

NO_LONGER_ACCESSIBLE = "Durable Object storage is no longer accessible."
CODE_UPDATED = "Durable Object reset because its code was updated."
CLOSED_FOR_UPDATE = Close(code=1012, reason=CODE_UPDATED)
ABORTED = "Application called abort() to reset Durable Object."


class Actor:
    """One live instance."""

    def __init__(
        self, object_class: ObjectClass, key: ObjectKey, shown_id: DurableObjectId | str
    ) -> None:
        """Open the object's file; `shown_id` is what its code is told. Raises: HostError."""
        parts = object_class.parts
        self.object_class = object_class
        self.key = key
        self.loop: asyncio.AbstractEventLoop = parts.loop
        self.nesting: Nesting = parts.nesting
        self.gate = InputGate(self._schedule)
        self.output = OutputGate()
        # In the order in which they came, so that a reset answers them in that order.
        self.turns: dict[Turn, None] = {}
        self.cpu: CpuAccount | None = parts.meter.account(object_class.cpu_limit_s)
        self.turn_type: type[Turn] = Turn if self.cpu is None else MeteredTurn
        self.instance: object | None = None
        self.broken: BaseException | None = None
        self.is_evicted = False
        self.now_s = parts.clock.monotonic
        self.last_active_s = self.now_s()
        # Whether an event came since `evict_if_unused` looked last.
        self.is_used = True
        self._is_started = False
        self.abandons_alarm = False
        self.opening = Opening(self)
        self._holds = 0
        self._on_reset: list[Callable[[BaseException], None]] = []
        self._thread_id = threading.get_ident()
        # Made when somebody asks, for most objects have none.
        self.facets: Facets | None = None
        path = object_class.file_of(key.object_id)
        aftermath = object_class.aftermaths.of(key.object_id, path)
        self.database = self._opened(path, aftermath)
        self.line = CommitLine(parts.committer, Commits(self))
        self.storage = DurableObjectStorage(
            self.database,
            self,
            clock=parts.clock,
            sql_enabled=object_class.is_sql_enabled,
            has_alarm_handler=object_class.alarm is not None,
        )
        self.storage.on_delete_all = self._delete_facets
        self.storage.delete_all_deletes_alarm = object_class.delete_all_deletes_alarm
        self.state = DurableObjectState(self, shown_id, self.storage, object_class.exports)
        self.context: contextvars.Context = object_class.context.copy()
        self.context.run(current_owner.set, self)
        self.context.run(current_ctx.set, self.state)
        self.sockets = ActorSockets(self, replies_to_close=object_class.replies_to_close)
        self.context.run(current_sockets.set, self.sockets)
        # The file is the truth; nothing leaves before it is durable and the index knows of it, too.
        is_behind = parts.alarms.is_behind(self.key.address, self.storage.take_alarm_change()[1])
        begins_with_sync = is_behind or (aftermath is not None and self.database.exists)
        if begins_with_sync:
            self._get_ready()
        if aftermath is not None:
            object_class.aftermaths.dealt_with(self.key.object_id)
        unsettled = object_class.unsettled_of(self.key.object_id)
        if unsettled is not None:
            self._follow(unsettled)
        if begins_with_sync:
            self.wrote(True)

    def _opened(self, path: Path, aftermath: Aftermath | None) -> Database:
        key, parts = self.key, self.object_class.parts
        meta = ObjectMeta(unique_key=key.unique_key, object_id=key.object_id, name=key.name)
        database = open_object(
            path,
            lambda: Database(path, meta, parts.files, directory=self.object_class.directory),
            before=None if aftermath is None else lambda: aftermath.deal_with(path),
            is_recorded=lambda: parts.catalog.knows(key),
            make_room=parts.evictor.make_room,
        )
        database.authorizer.is_over = parts.meter.is_over
        if database.is_begun_anew:
            parts.log.event("object.unfinished", level="warn", object=repr(self), file=str(path))
        return database

    def _get_ready(self) -> None:
        try:
            self.database.get_ready()
        except HostError:
            self.database.close()
            raise

    def __repr__(self) -> str:
        status = "reset" if self.broken else "evicted" if self.is_evicted else "running"
        label = self.key.name or self.key.object_id[:8]
        return (
            f"<Actor {self.object_class.class_name}/{label} {status}, "
            f"{len(self.turns)} in flight, {self.gate!r}>"
        )

    # Events ---------------------------------------------------------------------------------

    def deliver(self, entry: Callable[[], object], sink: Sink) -> None:
        """Run `entry` as an event of this object, after its constructor, and give `sink` the outcome."""
        self.is_used = True
        if not self._is_started:
            self._is_started = True
            self.new_turn(self._construct, Construction(self)).start()
        if self.broken is not None:
            sink.raised(self.broken)
            return
        self.turn_type(self, entry, sink, self.context.copy()).start()

    def new_turn(self, entry: Callable[[], object], sink: Sink) -> Turn:
        """Make a turn of this object that has not started, in a copy of the object's context."""
        return self.turn_type(self, entry, sink, self.context.copy())

    def _construct(self) -> None:
        self.storage.is_constructing = True
        try:
            self.instance = self.object_class.construct(self.state)
        finally:
            self.storage.is_constructing = False

    def barrier(self) -> Batch | None:
        """Return what an output of this object that is produced now has to wait for."""
        return self.output.barrier()

    def socket_barrier(self) -> Batch | None:
        """Return the same for a WebSocket frame, which also waits for the end of the construction."""
        opening = self.opening.barrier()
        return self.output.barrier() if opening is None else opening

    def turn_ended(self) -> None:
        """Note the time; an actor without turns may be evicted after a while."""
        if not self.turns:
            self.last_active_s = self.now_s()
            if self.object_class.retiring and self in self.object_class.retiring:
                self._schedule(self.evict_if_idle)

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost but memory if this instance ended now."""
        return (
            not self.turns
            and self._holds == 0
            and self.line.is_clean
            and not self.gate.waiting()
            and (self.facets is None or self.facets.is_idle)
            and not self.object_class.keeps_instances
        )

    def evict_if_idle(self) -> bool:
        """End this instance gracefully if it is idle; return whether it has ended."""
        if self.broken is None and not self.is_evicted and self.is_idle:
            self._evict()
        return self.is_evicted

    def evict_if_unused(self) -> bool:
        """End an instance that had no event since the last look and that only its own tasks keep."""
        was_used, self.is_used = self.is_used, False
        is_kept = self._holds or any(turn.sink is not None for turn in self.turns)
        is_kept = is_kept or not (self.facets is None or self.facets.is_idle)
        if was_used or is_kept or self.broken is not None or not self.line.is_clean:
            return self.is_evicted
        self._evict()
        for turn in tuple(self.turns):
            turn.kill(JsException(NO_LONGER_ACCESSIBLE))
        return self.is_evicted

    def _evict(self) -> None:
        self.is_evicted = True
        self.object_class.counts.evictions += 1
        self.gate.break_with(JsException(NO_LONGER_ACCESSIBLE))
        if self.facets is not None:
            self.facets.evict()
        if self in self.object_class.retiring:
            self.object_class.hang_up(self.key.object_id, CLOSED_FOR_UPDATE)
        else:
            self.object_class.hibernate(self.key.object_id)
        self.object_class.forget(self)
        self.database.close()

    def reset(self, error: BaseException) -> None:
        """Drop this instance because of `error`; the first error counts."""
        if self.broken is not None or self.is_evicted:
            return
        if not isinstance(error, HostError):
            error = to_remote_error(error, self.key.object_id)
            error.durableObjectReset = True
        self.broken = error
        self.object_class.counts.count_reset(error)
        self.object_class.forget(self)
        self.database.rollback()
        if self.line.is_in_log:
            self.object_class.aftermaths.note(self.key.object_id, Aftermath.unsynced)
        self.line.discard_open(error)
        self.gate.break_with(error)
        for turn in tuple(self.turns):
            turn.kill(error)
        if self.facets is not None:
            self.facets.end_all(error)
        for on_reset in tuple(self._on_reset):
            on_reset(error)
        last = self.line.latest()
        self.output.break_with(error)
        self.sockets.break_off()
        self.object_class.break_off(self.key.object_id)
        if last is None:
            self.database.close()
        else:
            # The next instance may read what is committed but not synced yet; nobody may hear of it
            # before it is.
            self.object_class.unsettled(self.key.object_id, last)
            last.when_done(lambda _: self.database.close())

    def _follow(self, unsettled: Batch) -> None:
        """Let nothing leave before the last writes of the instance before this one are durable."""
        self.line.follow(unsettled)
        if self.output.barrier() is None:
            self.output.lock(unsettled)
        unsettled.add_callback(lambda error: None if error is None else self.reset(error))

    # What `ctx` calls -------------------------------------------------------------------------

    def block_concurrency_while(
        self, callback: Callable[[], Awaitable[Result] | Result]
    ) -> Awaitable[Result]:
        """Start a critical section whose failure resets the object."""
        return Section(self, callback, resets=True).reply  # type: ignore[return-value] # of callback

    def wait_until(self, awaitable: Awaitable[object]) -> None:
        """Keep this instance until `awaitable` is done; log its failure."""
        future = asyncio.ensure_future(awaitable)
        self._holds += 1

        def done(task: asyncio.Future[object]) -> None:
            self._holds -= 1
            self.last_active_s = self.now_s()
            if not task.cancelled() and task.exception() is not None:
                self.object_class.parts.log.event(
                    "object.background_failed",
                    level="error",
                    object=repr(self),
                    error=repr(task.exception()),
                )

        future.add_done_callback(done, context=NEUTRAL)

    def hold(self, on_reset: Callable[[BaseException], None] | None = None) -> Callable[[], None]:
        """Keep this instance from being evicted until the returned function is called.

        `on_reset` is called with the error if the instance is reset before.
        """
        self._holds += 1
        if on_reset is not None:
            self._on_reset.append(on_reset)

        def release() -> None:
            self._holds -= 1
            self.last_active_s = self.now_s()
            if on_reset in self._on_reset:
                self._on_reset.remove(on_reset)

        return release

    def answers(self, reply: Reply) -> Sink:
        """Return the sink through which the outcome of a call leaves this object."""
        return RpcSink(self, reply)

    def abort(self, reason: str | None, *, retries_alarm: bool = True) -> NoReturn:
        """Reset the object and leave user code by an exception that it can't catch by accident."""
        self.abandons_alarm = self.broken is None and not retries_alarm
        self.reset(JsException(ABORTED if reason is None else reason))
        raise DurableObjectAbort(reason)

    def hibernatable_sockets(self) -> Hibernation:
        """Return the object's sockets that outlive this instance."""
        key = self.key
        return self.object_class.hibernation(DurableObjectId(key.object_id, name=key.name))

    def facets_host(self) -> Facets:
        """Return the objects inside this one. Raises: Quarantined if their index is damaged."""
        if self.facets is None:
            self.facets = self.object_class.parts.facets(self)
        return self.facets

    def family(self) -> Iterator[Actor]:
        """Give this instance and the live ones of all facets below it."""
        yield self
        if self.facets is not None:
            yield from self.facets.family()

    # What the storage calls -------------------------------------------------------------------

    def check_access(self) -> None:
        """Refuse storage to an instance that has ended, and to other threads."""
        if self.broken is not None or self.is_evicted:
            raise JsException(NO_LONGER_ACCESSIBLE) from self.broken
        if self.cpu is not None:
            self.cpu.meter.end_overlong()
        if threading.get_ident() != self._thread_id:
            raise RuntimeError(
                "Durable Object storage was used from another thread. Storage belongs to the event "
                "loop's thread; give the thread plain values and write when it has answered."
            )

    def wrote(self, confirmed: bool) -> None:
        """A write happened: commit it in this iteration, and hold outputs if it is confirmed."""
        batch = self.line.wrote()
        if confirmed and not batch.is_confirmed:
            batch.is_confirmed = True
            self.output.lock(batch)

    def _delete_facets(self) -> None:
        self.facets_host().delete_all()

    def critical_section(
        self, callback: Callable[[], Awaitable[Result] | Result]
    ) -> Awaitable[Result]:
        """Run a transaction's callback with the input gate closed; its failure is the caller's."""
        return Section(self, callback, resets=False).reply  # type: ignore[return-value] # of callback

    def committed_so_far(self) -> Awaitable[None]:
        """Return an awaitable that is done when every write made so far is durable."""
        reply = Reply(loop=self.loop)
        latest = self.line.latest()
        if latest is None:
            reply.resolve(None)
        else:
            latest.add_callback(
                lambda error: reply.resolve(None) if error is None else reply.reject(error)
            )
        return reply  # type: ignore[return-value] # resolves to None

    def broke(self, error: BaseException) -> None:
        """A storage error ended the open transaction: nothing that depended on it may leave."""
        self.reset(error)

    def _schedule(self, callback: Callable[[], object]) -> None:
        self.loop.call_soon(callback, context=NEUTRAL)
