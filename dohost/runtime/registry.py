"""Which objects live: at most one actor per (class, id), made by the first event that needs it.

An `ObjectClass` is one namespace of live objects and the dispatcher behind its stubs. A call leaves the
caller's object first (it waits for the caller's unsynced writes), then enters the target's gate; both
happen at call time when nothing stands in the way. On a change of code the class is replaced: idle
actors end at once, busy ones *retire*, which means that they finish what they have begun while new
events wait, and are reset when their grace is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from workers import DurableObject, Request, Response, WorkerEntrypoint
from workers.arguments import clone_all
from workers.socket_end import Close

from dohost.errors import (
    DataCloneError,
    DohostError,
    HostError,
    JsException,
    JsTypeError,
    Overloaded,
    Quarantined,
)
from dohost.gates import Batch
from dohost.objects.id import DurableObjectId, IdFactory
from dohost.objects.namespace import DurableObjectNamespace
from dohost.objects.redirects import Trail
from dohost.objects.rpc import Method, Reply, method_table, refuse_method, to_remote_error
from dohost.objects.state import DurableObjectState
from dohost.objects.stub import DurableObjectStub
from dohost.runtime.actor import CLOSED_FOR_UPDATE, CODE_UPDATED, Actor
from dohost.runtime.aftermath import Aftermaths
from dohost.runtime.calls import FetchCall, LendingCall, RpcCall
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.class_counts import ClassCounts
from dohost.runtime.following import FollowingReply
from dohost.runtime.handlers import Handler, handler_of
from dohost.runtime.hibernation import Hibernation
from dohost.runtime.moved_streams import moved_from_here
from dohost.runtime.overload import Loads
from dohost.runtime.parts import Code, Parts
from dohost.runtime.references import lend
from dohost.runtime.turns import current_owner
from dohost.storage.directories import Directory
from dohost.storage.facet_index import FacetIndex

SDK_ROOTS: tuple[type, ...] = (DurableObject, WorkerEntrypoint)
NO_RPC = (
    "The receiving Durable Object does not support RPC, because its class was not declared with "
    "`extends DurableObject`. In order to enable RPC, make sure your class extends the special class "
    '`DurableObject`, which can be imported from the module "cloudflare:workers".'
)


class ObjectClass:
    """The live objects of one class of one worker."""

    # Whether something beside what an instance itself does keeps it in memory.
    keeps_instances = False

    def __init__(
        self, parts: Parts, unique_key: str, class_name: str, *, is_sql_enabled: bool
    ) -> None:
        self.parts = parts
        self._loop = parts.loop
        self.unique_key = unique_key
        self.class_name = class_name
        self.is_sql_enabled = is_sql_enabled
        self.ids = IdFactory(unique_key, parts.entropy)
        faults = parts.faults
        self.dispatcher = self if faults is None else faults.between(unique_key, self)
        self.namespace = DurableObjectNamespace(self.ids, self.dispatcher, label=class_name)
        self.actors: dict[str, Actor] = {}
        self.counts = ClassCounts()
        self.hibernations: dict[str, Hibernation] = {}
        self.aftermaths = Aftermaths()
        self._unsettled: dict[str, Batch] = {}
        self._unrecorded: set[str] = set()
        # Files of facets that somebody works on, by their objects' ids.
        self.busy: dict[str, Batch] = {}
        self.facet_indexes: WeakValueDictionary[str, FacetIndex] = WeakValueDictionary()
        self._end: HostError | None = None
        self._closed: dict[str, HostError] = {}
        # Actors that run old code and end as soon as they are idle, with the events that wait for that.
        self.retiring: dict[Actor, list[Callable[[], None]]] = {}
        self.directory = Directory(parts.persist / "v3" / "do" / unique_key)
        self._loads = Loads(parts.clock) if parts.files.is_strict else None

    def __repr__(self) -> str:
        return f"<ObjectClass {self.unique_key}, {len(self.actors)} live>"

    # Code -----------------------------------------------------------------------------------

    def load(self, code: Code, *, grace_s: float = 1.0) -> None:
        """Run new instances with `code`; end the ones that run older code."""
        self._cls = code.cls
        self._env = code.env
        self.exports = code.exports
        self.context = code.context
        self.delete_all_deletes_alarm = code.delete_all_deletes_alarm
        self.has_rpc = issubclass(code.cls, DurableObject)
        self.replies_to_close = code.replies_to_close
        self.cpu_limit_s = code.cpu_limit_s
        self.methods: Mapping[str, Method] = (
            method_table(code.cls, roots=SDK_ROOTS) if self.has_rpc else {}
        )
        self.fetch_handler: Handler | None = getattr(code.cls, "fetch", None)
        if code.switching is not None:
            self.methods = {name: code.switching(each) for name, each in self.methods.items()}
            if self.fetch_handler is not None:
                self.fetch_handler = code.switching(self.fetch_handler)
        self.alarm = handler_of(code.cls, "alarm", switching=code.switching)
        self.web_socket_message = handler_of(code.cls, "webSocketMessage", switching=code.switching)
        self.web_socket_close = handler_of(code.cls, "webSocketClose", switching=code.switching)
        self.web_socket_error = handler_of(code.cls, "webSocketError", switching=code.switching)
        self.hang_up_all(CLOSED_FOR_UPDATE)
        for actor in tuple(self.actors.values()):
            actor.sockets.hang_up(CLOSED_FOR_UPDATE)
            self._retire(actor, grace_s)

    def construct(self, state: DurableObjectState) -> object:
        """Make the user's instance; whatever its constructor raises is raised."""
        instance: object = self._cls(state, self._env)
        return instance

    def constructor_error(self, error: BaseException, object_id: str) -> BaseException:
        """Return what callers see when a constructor raised `error`."""
        return to_remote_error(error, object_id)

    # Where things are -----------------------------------------------------------------------

    def file_of(self, object_id: str) -> Path:
        """Return the object's file, named as wrangler names it."""
        return self.directory.path / f"{object_id}.sqlite"

    def actor(self, object_id: DurableObjectId) -> Actor:
        """Return the object's live instance; makes it if there is none. Raises: HostError."""
        key = object_id.toString()
        actor = self.actors.get(key)
        if actor is None:
            if self._end is not None:
                raise self._end
            closed = self._closed.get(key)
            if closed is not None:
                raise closed
            if (self.unique_key, key) in self.parts.missing:
                raise Quarantined(
                    f"{self.file_of(key)} is missing; the object is known and was not empty"
                )
            shown = object_id.inside()
            actor = self._live(Actor(self, ObjectKey(self.unique_key, key, shown.name), shown))
        return actor

    def _live(self, actor: Actor) -> Actor:
        """Let an instance that was just made be the object's live one."""
        key = actor.key.object_id
        self.actors[key] = actor
        self.parts.cuts.started(actor)
        self.parts.evictor.started()
        return actor

    def share_registers(self, root: ObjectClass) -> None:
        """Keep what outlives instances where the class of the root object keeps it."""
        self.directory = root.directory
        self.aftermaths = root.aftermaths
        self.counts = root.counts
        self._unsettled = root._unsettled
        self._unrecorded = root._unrecorded

    def unsettled_of(self, object_id: str) -> Batch | None:
        """Return the last commit of an ended instance, while it is being synced."""
        return self._unsettled.get(object_id)

    def record(self, key: ObjectKey) -> asyncio.Future[None]:
        """Have a new object's file recorded in the catalog; the future is done when it is durable."""
        created_ms = self.parts.clock.realtime_ns() // 1_000_000
        durable = self.parts.catalog.add_object(key, created_ms=created_ms)
        self._unrecorded.add(key.object_id)

        def done(future: asyncio.Future[None]) -> None:
            if not future.cancelled() and future.exception() is None:
                self._unrecorded.discard(key.object_id)

        durable.add_done_callback(done)
        return durable

    def settle(self) -> None:
        """Deal with what instances that ended badly left behind, as the last act; blocks.

        The next process would know nothing of it.
        """
        for object_id, aftermath in self.aftermaths.outstanding():
            path = self.file_of(object_id)
            try:
                aftermath.deal_with(path)
            except HostError as error:
                self.parts.log.event(
                    "object.unsettled", level="error", file=str(path), error=str(error)
                )

    def is_unrecorded(self, object_id: str) -> bool:
        """Return whether recording the object's file has not succeeded yet."""
        return object_id in self._unrecorded

    def unsettled(self, object_id: str, batch: Batch) -> None:
        """Note that an instance ended while its last commit was being synced."""
        self._unsettled[object_id] = batch

        def settled(error: BaseException | None) -> None:
            if self._unsettled.get(object_id) is batch:
                del self._unsettled[object_id]

        batch.when_done(settled)

    def forget(self, actor: Actor) -> None:
        """Let the next event make a new instance; events that waited for this one's end go on."""
        if self.actors.get(actor.key.object_id) is actor:
            del self.actors[actor.key.object_id]
            if self._loads is not None:
                self._loads.forget(actor.key.object_id)
        for resume in self.retiring.pop(actor, ()):
            self.parts.loop.call_soon(resume)

    @contextlib.asynccontextmanager
    async def closed(self, object_id: str) -> AsyncIterator[None]:
        """Keep one object from living, with all its files closed, while somebody works on them.

        Calls get an error meanwhile. Raises: Overloaded if somebody does already.
        """
        error = Overloaded(f"The files of object {object_id} are being worked on; try again.")
        if object_id in self._closed:
            raise error
        self._closed[object_id] = error
        try:
            actor = self.actors.get(object_id)
            if actor is not None:
                actor.reset(error)
            await self._settled(object_id)
            self.facet_indexes.pop(object_id, None)
            yield
        finally:
            del self._closed[object_id]

    async def _settled(self, object_id: str) -> None:
        """Wait until nothing is under way in the files of an object and its facets."""
        batches = [
            batch
            for pending in (self._unsettled, self.busy)
            for key, batch in pending.items()
            if key.partition(".")[0] == object_id
        ]
        for batch in batches:
            waiter = self.parts.loop.create_future()
            batch.when_done(lambda _, waiter=waiter: waiter.set_result(None))  # type: ignore[misc] # one argument
            await waiter

    async def close(self, error: HostError) -> None:
        """End every object, for good and with all files closed; later calls get `error`."""
        self._end = error
        for actor in tuple(self.actors.values()):
            actor.reset(error)
        while self._unsettled:
            waiter = self.parts.loop.create_future()
            batch = next(iter(self._unsettled.values()))
            batch.when_done(lambda _, waiter=waiter: waiter.set_result(None))  # type: ignore[misc] # one argument
            await waiter

    def _retire(self, actor: Actor, grace_s: float) -> None:
        if actor.evict_if_idle():
            return
        self.retiring[actor] = []
        self.parts.loop.call_later(grace_s, actor.reset, JsException(CODE_UPDATED))

    # Hibernation ----------------------------------------------------------------------------

    def hibernation(self, object_id: DurableObjectId) -> Hibernation:
        """Return the hibernatable sockets of an object."""
        key = object_id.toString()
        found = self.hibernations.get(key)
        if found is None:
            found = self.hibernations[key] = Hibernation(self, object_id)
        return found

    def hibernate(self, object_id: str) -> None:
        """Note that an object's instance ended; without sockets nothing of it is kept."""
        hibernation = self.hibernations.get(object_id)
        if hibernation is not None and not hibernation.hibernate():
            del self.hibernations[object_id]

    def drop_hibernation(self, hibernation: Hibernation) -> None:
        """Forget an object that hibernated and has lost its last socket."""
        if self.hibernations.get(hibernation.object_id) is hibernation:
            del self.hibernations[hibernation.object_id]

    def break_off(self, object_id: str) -> None:
        """Break every connection of an object that is reset."""
        hibernation = self.hibernations.pop(object_id, None)
        if hibernation is not None:
            hibernation.break_off()

    def hang_up(self, object_id: str, close: Close) -> None:
        """Close every hibernatable socket of an object and hear no more of it."""
        hibernation = self.hibernations.pop(object_id, None)
        if hibernation is not None:
            hibernation.hang_up(close)

    def hang_up_all(self, close: Close) -> None:
        """Close every hibernatable socket of this class, and of facets inside its objects."""
        for object_id in tuple(self.hibernations):
            self.hang_up(object_id, close)
        for actor in tuple(self.actors.values()):
            for each in actor.family():
                if each is not actor:
                    each.object_class.hang_up(each.key.object_id, close)

    # Delivery (the dispatcher behind stubs) ---------------------------------------------------

    def call(
        self, stub: DurableObjectStub, method: str, args: tuple[object, ...]
    ) -> Awaitable[object]:
        """Start an RPC call on the object of `stub` now."""
        reply = Reply(loop=self._loop)
        if args:
            try:
                args = clone_all(args)
            except DataCloneError:
                copies, loan = lend(args, is_worker=False)
                self._send(stub, LendingCall(reply, method, copies, loan))
                return reply
        self._send(stub, RpcCall(reply, method, args))
        return reply

    def fetch(self, stub: DurableObjectStub, request: Request) -> Awaitable[Response]:
        """Start a fetch on the object of `stub` now."""
        if current_owner.get() is not None:
            request.gate_body(moved_from_here)
        reply = Reply(loop=self._loop)
        if request.redirect == "follow":
            try:
                trail = Trail(request)
            except OSError as error:
                reply.reject(error)
                return reply  # type: ignore[return-value] # as below
            request = trail.request()
            reply = FollowingReply(trail, partial(self._fetch_again, stub), loop=self._loop)
        self._send(stub, FetchCall(reply, request))
        return reply  # type: ignore[return-value] # FetchCall lets only a Response through

    def _fetch_again(self, stub: DurableObjectStub, reply: Reply, request: Request) -> None:
        self._enter(stub, FetchCall(reply, request))

    def _send(self, stub: DurableObjectStub, call: RpcCall | FetchCall) -> None:
        """Let `call` go when every confirmed write of the calling object is durable: now, if it is."""
        self.counts.calls += 1
        caller = current_owner.get()
        barrier: Batch | None = None if caller is None else caller.barrier()
        if barrier is None:
            self._enter(stub, call)
        else:
            barrier.add_callback(
                lambda error: self._enter(stub, call) if error is None else call.refused(error)
            )

    def _enter(self, stub: DurableObjectStub, call: RpcCall | FetchCall) -> None:
        actor = stub._connected
        if type(actor) is not Actor or actor.is_evicted:
            try:
                actor = self.actor(stub.id)
            except DohostError as error:
                # Quarantined, or no descriptor left: this object's answer, not a reset of anything.
                call.refused(error)
                return
        waiting = self.retiring.get(actor) if self.retiring else None
        if waiting is not None:
            waiting.append(lambda: self._enter(stub, call))
            return
        # An instance that was reset answers all by its error, and is no load for the next one.
        if self._loads is not None and actor.broken is None:
            refusal = self._loads.refusal(actor)
            if refusal is not None:
                call.refused(refusal)
                return
        stub._connected = actor
        call.deliver(actor)

    def refusal(self, name: str, instance: object) -> JsException:
        """Return the error for a method or handler that `instance` does not have."""
        if not self.has_rpc and name != "fetch":
            return JsTypeError(NO_RPC)
        return refuse_method(self._cls, name, instance)
