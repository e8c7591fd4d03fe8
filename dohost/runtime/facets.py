"""Facets: objects inside an object, which only it can call.

A facet is an actor with gates, a file and perhaps facets of its own. It lives inside the live instance of
its parent: its first call has the parent say, in an event of its own, which class it is; it is evicted and
reset with the parent; it alone is reset by `abort`, and evicted when too much is open. Its files lie beside
those of the root object, under the number that the root's index of facets gives it.

Invariants: (1) before a facet's first write is acknowledged, its root has a file, the index knows the facet,
and the catalog knows its file, in this order; (2) while files of a facet are deleted or replaced no instance
has them open, and nothing leaves the parent; (3) a deletion forgets a file before it removes it, so what a
crash interrupts has not happened or is believed by nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from dohost.errors import DohostError, JsException, JsTypeError, Quarantined
from dohost.gates import Batch, Scope
from dohost.objects.id import DurableObjectId
from dohost.objects.stub import Dispatcher, DurableObjectStub
from dohost.runtime.actor import NO_LONGER_ACCESSIBLE, Actor
from dohost.runtime.calls import FetchCall, RpcCall
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.facet_class import FacetClass, LoopbackNamespace
from dohost.runtime.facet_files import FacetFiles
from dohost.runtime.registry import ObjectClass
from dohost.runtime.turns import Sink, current_turn

if TYPE_CHECKING:
    from dohost.objects.facets import Startup

DEPTH_MAX = 4
TOO_DEEP = (
    "Facet nesting depth limit exceeded. The maximum depth including the root Durable Object is "
    f"{DEPTH_MAX}."
)
DELETED = "Facet was deleted."
CLONED_OVER = "Facet was cloned-over."
NOT_A_CLASS = (
    "Incorrect type for the 'class' field on 'StartupOptions': the provided value is not of type "
    "'DurableObjectClass or LoopbackDurableObjectNamespace or LoopbackColoLocalActorNamespace'."
)


class FacetStub(DurableObjectStub):
    """Calls one facet; it has neither `id` nor `name` of its own, and can't be passed on."""

    __slots__ = ("_scope", "_startup")

    _unpassable = "Stubs pointing to Durable Object facets are not serializable."

    def __init__(self, dispatcher: Dispatcher, startup: Startup, scope: Scope) -> None:
        self._dispatcher = dispatcher
        self._connected = None
        self._startup = startup
        # Where `get` was called: a section that starts a facet must not keep the start out.
        self._scope = scope

    def begin(self, parent: Actor, sink: Sink) -> None:
        """Have the parent say what the facet is, as an event of its own."""
        turn = parent.new_turn(self._startup, sink)
        turn.scope = self._scope.live()
        turn.begin()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __repr__(self) -> str:
        return f"<FacetStub {self._dispatcher!r}>"


class Facets:
    """The facets of one live instance: `ctx.facets` of its code calls this."""

    def __init__(
        self, parent: Actor, files: FacetFiles, *, number: int = 0, depth: int = 1
    ) -> None:
        self.parent = parent
        self.files = files
        self.number = number
        self.depth = depth
        self._facets: dict[str, Facet] = {}

    @classmethod
    def of_root(cls, root: Actor) -> Facets:
        """Return the facets of an object that is none itself. Raises: Quarantined for a damaged index."""
        return cls(root, FacetFiles(root))

    def get(self, name: str, startup: Startup) -> FacetStub:
        """Return a stub of the facet; starts nothing. Raises: JsException below the fourth level."""
        if self.depth >= DEPTH_MAX:
            raise JsException(TOO_DEEP)
        facet = self._facets.get(name)
        if facet is None:
            facet = self._facets[name] = Facet(self, name)
        turn = current_turn(self.parent.loop)
        is_own = turn is not None and turn.owner is self.parent
        return FacetStub(facet, startup, turn.scope if turn and is_own else self.parent.gate.root)

    def abort(self, name: str, reason: object) -> None:
        """End a facet that runs; its callers get `reason`."""
        error = reason if isinstance(reason, JsException) else JsException(str(reason))
        self._end(name, error)

    def delete(self, name: str) -> None:
        """End a facet and delete what it and all below it have stored."""
        self._end(name, JsException(DELETED))
        number = self.files.index.number(self.number, name)
        if number is not None:
            self.files.delete(self.parent, self.files.index.family(number))

    def clone(self, source: str, target: str) -> None:
        """Make `target` a copy of `source`, with all below it."""
        self._end(target, JsException(CLONED_OVER))
        if source == target:
            return
        index = self.files.index
        number, replaced = index.number(self.number, source), index.number(self.number, target)
        doomed = [] if replaced is None else index.family(replaced)
        if number is None:
            self.files.delete(self.parent, doomed)
            return
        pairs = self._pairs(number, index.add(self.number, target))
        copied = self._facets.get(source)
        live = [] if copied is None else [*copied.family()]
        self.files.clone(self.parent, pairs, doomed=doomed, live=live)

    def delete_all(self) -> None:
        """Delete every facet, as part of the parent's `deleteAll()`."""
        for _, name in self.files.index.children(self.number):
            self.delete(name)

    def end_all(self, error: BaseException) -> None:
        """Reset every facet, because the parent is."""
        for facet in self._facets.values():
            facet.end(error)

    def evict(self) -> None:
        """Evict every facet, because the parent is evicted and all of them are idle."""
        for facet in self._facets.values():
            for actor in tuple(facet.actors.values()):
                actor.evict_if_idle()

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost but memory if every facet ended now."""
        return all(facet.is_idle for facet in self._facets.values())

    def family(self) -> Iterator[Actor]:
        """Give every live facet, at any depth."""
        for facet in self._facets.values():
            yield from facet.family()

    def _end(self, name: str, error: JsException) -> None:
        facet = self._facets.get(name)
        if facet is not None:
            facet.end(error)

    def _pairs(self, source: int, target: int) -> list[tuple[int, int]]:
        """Return which number becomes a copy of which, giving out numbers where there are none."""
        pairs = [(source, target)]
        for child, name in self.files.index.children(source):
            pairs += self._pairs(child, self.files.index.add(target, name))
        return pairs


class Facet(ObjectClass):
    """One facet: a namespace of one object, which is started by what its parent says."""

    def __init__(self, siblings: Facets, name: str) -> None:
        root = siblings.files.root.object_class
        super().__init__(root.parts, root.unique_key, name, is_sql_enabled=root.is_sql_enabled)
        self.share_registers(root)
        self._siblings = siblings
        self._name = name
        self._failure: BaseException | None = None
        self._waiting: list[tuple[FacetStub, RpcCall | FetchCall]] = []
        self._start: _Start | None = None

    def __repr__(self) -> str:
        return f"<Facet {self._name!r} of {self._siblings.parent!r}>"

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost but memory if the facet ended now; sockets keep it."""
        return (
            not self._waiting
            and self._start is None
            and all(actor.is_idle for actor in self.actors.values())
        )

    @property
    def keeps_instances(self) -> bool:  # type: ignore[override] # of one instance, so it may change
        """Whether hibernatable sockets, which can't make it live again, or work on its files keep it."""
        return self._busy() is not None or any(
            not each.is_empty for each in self.hibernations.values()
        )

    def _busy(self) -> Batch | None:
        """Return what is done when nobody works on the facet's files, if somebody does."""
        files = self._siblings.files
        number = files.index.number(self._siblings.number, self._name)
        return None if number is None else files.busy(number)

    def family(self) -> Iterator[Actor]:
        """Give the live instance and those of all facets below it."""
        for actor in tuple(self.actors.values()):
            yield from actor.family()

    def end(self, error: BaseException) -> None:
        """Reset the instance, if there is one, and forget a failed start; who waits gets `error`."""
        self._failure = self._start = None
        waiting, self._waiting = self._waiting, []
        for actor in tuple(self.actors.values()):
            actor.reset(error)
        for _, call in waiting:
            call.refused(error)

    def actor(self, object_id: DurableObjectId) -> Actor:
        """Return the live instance, for a socket of it. Raises: JsException if it has ended."""
        actor = self.actors.get(object_id.toString())
        if actor is None:
            raise JsException(NO_LONGER_ACCESSIBLE)
        return actor

    def is_unrecorded(self, object_id: str) -> bool:
        """Return whether recording the facet's file or name has not succeeded yet."""
        return super().is_unrecorded(object_id) or not self._siblings.files.is_saved(object_id)

    def record(self, key: ObjectKey) -> asyncio.Future[None]:
        """Have the root's file, the index and the catalog know of a new file, in this order."""
        return self._siblings.files.record(lambda: super(Facet, self).record(key))

    # Delivery ---------------------------------------------------------------------------------

    def _enter(self, stub: DurableObjectStub, call: RpcCall | FetchCall) -> None:
        assert isinstance(stub, FacetStub), "a facet gives out these"
        connected, parent = stub._connected, self._siblings.parent
        if isinstance(connected, Actor) and connected.broken is not None:
            call.deliver(connected)
        elif parent.broken is not None or parent.is_evicted:
            call.refused(parent.broken or JsException(NO_LONGER_ACCESSIBLE))
        elif self._failure is not None:
            call.refused(self._failure)
        else:
            self._waiting.append((stub, call))
            self.advance()

    def advance(self) -> None:
        """Deliver what waits, if the facet runs; start it, if nobody works on its files."""
        if not self._waiting:
            return
        busy = self._busy()
        if busy is not None:
            busy.add_callback(lambda _: self.advance())
            return
        actor = next(iter(self.actors.values()), None)
        if actor is not None:
            waiting, self._waiting = self._waiting, []
            for stub, call in waiting:
                stub._connected = actor
                call.deliver(actor)
        elif self._start is None:
            self._start = _Start(self)
            self._waiting[0][0].begin(self._siblings.parent, self._start)

    def started(self, start: _Start, value: object) -> None:
        """Make the instance that the parent has described."""
        if self._start is not start:
            return
        try:
            facet_class, shown_id = self._options(value)
        except DohostError as error:
            self.failed(start, error)
            return
        self._start = None
        self.load(facet_class.code(is_strict=self.parts.files.is_strict))
        try:
            self._make(shown_id).state.props = facet_class.props()
        except DohostError as error:
            # Quarantined, or no descriptor left: the next call tries again.
            self.end(error)
            return
        self.advance()

    def failed(self, start: _Start, error: BaseException) -> None:
        """Keep the failure of a start until the facet is aborted or deleted, or the parent ends."""
        if self._start is start:
            self.end(error)
            self._failure = error

    def _make(self, shown_id: DurableObjectId | str) -> Actor:
        siblings, parts = self._siblings, self.parts
        key = siblings.files.key(siblings.number, self._name)
        if key.address in parts.missing:
            path = self.file_of(key.object_id)
            raise Quarantined(f"{path} is missing; the facet is known and was not empty")
        actor = self._live(Actor(self, key, shown_id))
        number = siblings.files.index.add(siblings.number, self._name)
        actor.facets = Facets(actor, siblings.files, number=number, depth=siblings.depth + 1)
        actor.storage.has_alarms = False
        return actor

    def _live(self, actor: Actor) -> Actor:
        """Let an instance that was just made be the live one, and count."""
        self.parts.evictor.facets += 1
        return super()._live(actor)

    def forget(self, actor: Actor) -> None:
        """Let the next call start the facet anew."""
        if self.actors.get(actor.key.object_id) is actor:
            self.parts.evictor.facets -= 1
        super().forget(actor)

    def _options(self, value: object) -> tuple[FacetClass, DurableObjectId | str]:
        options = value if isinstance(value, Mapping) else {}
        found, given = options.get("class"), options.get("id")
        if isinstance(found, LoopbackNamespace):
            found = found.facet_class
        if not isinstance(found, FacetClass):
            raise JsTypeError(NOT_A_CLASS)
        if given is None:
            return found, self._siblings.parent.state.id
        return found, given if isinstance(given, DurableObjectId) else str(given)


class _Start:
    """The outcome of one start."""

    __slots__ = ("_facet",)

    def __init__(self, facet: Facet) -> None:
        self._facet = facet

    def returned(self, value: object) -> None:
        self._facet.started(self, value)

    def raised(self, error: BaseException) -> None:
        self._facet.failed(self, error)
