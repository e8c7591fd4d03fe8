"""Stateless entrypoints as bindings: another worker's, and the worker's own through `ctx.exports`.

A call or a request leaves the calling object when its writes are durable, and runs as an event of the
target's worker, in a plain task with a context of that worker. Which generation of code that is, is
looked up when the call is made, so a binding survives reloads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from workers import DurableObject, Request, Response, WorkerEntrypoint
from workers.values import clone

from dohost.errors import JsException, JsTypeError
from dohost.objects.redirects import Trail
from dohost.objects.rpc import Reply
from dohost.objects.stub import Fetcher
from dohost.runtime.facet_class import FacetClass, LoopbackNamespace
from dohost.runtime.leaving import when_durable
from dohost.runtime.moved_streams import moved_from_here
from dohost.runtime.origin import PlainSink, settle
from dohost.runtime.references import copy_arguments
from dohost.runtime.registry import ObjectClass
from dohost.runtime.turns import Sink, current_owner
from dohost.runtime.worker import Generation


class ServiceStub(Fetcher):
    """Sends requests and calls to one entrypoint of a worker."""

    __slots__ = ("_entrypoint", "_find", "_has_front", "_props", "_service")

    def __init__(
        self,
        service: str,
        find: Callable[[], Generation | None],
        *,
        entrypoint: str = "Default",
        props: Mapping[str, object] | None = None,
    ) -> None:
        self._service = service
        self._find = find
        self._entrypoint = entrypoint
        self._props = props or {}
        # Requests from another worker meet the static assets first, as those from outside do.
        self._has_front = entrypoint == "Default" and type(self) is ServiceStub

    def fetch(self, resource: str | Request, **options: object) -> Awaitable[Response]:
        """Send a request to the entrypoint's `fetch`; 503 if the worker is not in this process."""
        if options or type(resource) is not Request:
            resource = Request(resource, **options)  # type: ignore[arg-type] # checked by Request
        request = resource
        if current_owner.get() is not None:
            request.gate_body(moved_from_here)
        loop = asyncio.get_running_loop()
        left: asyncio.Future[None] = loop.create_future()
        when_durable(lambda: left.set_result(None), left.set_exception)
        generation = self._find()
        if generation is None:
            return self._absent(left)
        coro = self._fetch(generation, request, left)
        return asyncio.Task(coro, loop=loop, context=generation.context.copy())

    def _call(self, name: str, /, *args: object, **kwargs: object) -> Awaitable[object]:
        if kwargs:
            # JavaScript's calling convention: keywords travel as one trailing options object.
            args = (*args, kwargs)
        loop = asyncio.get_running_loop()
        reply = Reply(loop=loop)
        generation = self._find()
        if generation is None:
            reply.reject(JsException(self._not_found))
            return reply
        copies, loan = copy_arguments(args, is_worker=True)
        sink: Sink = PlainSink(reply) if loan is None else loan.until(PlainSink(reply))

        def go() -> None:
            coro = generation.call(
                name, copies, entrypoint=self._entrypoint, props=self._props, loan=loan
            )
            task = asyncio.Task(coro, loop=loop, context=generation.context.copy())
            task.add_done_callback(lambda done: settle(done, sink))

        when_durable(go, reply.reject)
        return reply

    async def _fetch(
        self, generation: Generation, request: Request, left: asyncio.Future[None]
    ) -> Response:
        await left
        if request.redirect != "follow":
            return await self._ask(generation, request)
        trail = Trail(request)
        while True:
            response = await self._ask(generation, trail.request())
            if not trail.follow(response):
                return response

    def _ask(self, generation: Generation, request: Request) -> Awaitable[Response]:
        if self._has_front:
            return generation.front(request, props=self._props)
        return generation.fetch(request, entrypoint=self._entrypoint, props=self._props)

    async def _absent(self, left: asyncio.Future[None]) -> Response:
        await left
        return Response(self._not_found, status=503)

    @property
    def _not_found(self) -> str:
        return f'Worker "{self._service}" not found. Make sure it is running locally.'

    def __repr__(self) -> str:
        return f"<ServiceStub {self._service}#{self._entrypoint}>"


class Loopback(ServiceStub):
    """An entrypoint of the worker's own; called with `props`, it is the same with these props."""

    __slots__ = ()

    def __call__(
        self, options: Mapping[str, object] | None = None, *, props: object = None
    ) -> ServiceStub:
        given = options.get("props", props) if options is not None else props
        copy = clone(given or {})
        if not isinstance(copy, Mapping):
            raise JsTypeError("props must be an object.")
        return ServiceStub(self._service, self._find, entrypoint=self._entrypoint, props=copy)


class Exports:
    """`ctx.exports`: the worker's own exports, as bindings, also those that no binding names."""

    def __init__(self, bindings: Mapping[str, object]) -> None:
        vars(self).update(bindings)

    def __repr__(self) -> str:
        return f"<Exports {' '.join(sorted(vars(self)))}>"


def exports_of(generation: Generation, known: Callable[[str], ObjectClass | None]) -> Exports:
    """Return `ctx.exports` of a worker: its entrypoints, and the namespaces of its `known` classes."""
    found: dict[str, object] = {}
    for name, cls in generation.exports.items():
        object_class = known(name)
        if object_class is not None:
            found[name] = LoopbackNamespace(object_class, FacetClass(generation, name))
        elif issubclass(cls, DurableObject):
            found[name] = FacetClass(generation, name)
        elif issubclass(cls, WorkerEntrypoint):
            found[name] = Loopback(generation.config.name, lambda: generation, entrypoint=name)
    if "Default" in found:
        # JavaScript's name of the default export.
        found["default"] = found["Default"]
    return Exports(found)
