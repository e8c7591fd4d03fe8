"""One worker: a generation of its code, its exports, and its stateless entrypoints.

A stateless event gets a fresh instance of its entrypoint class and has no gates. It runs in the task of
whoever brought it: the server's task of the connection, or a plain task with a context of its own when
another worker or an object calls through a service binding.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from workers import DurableObject, Request, Response
from workers.context import Fetcher, current_ctx, current_env, current_sockets, outbound
from workers.raw_values import JsObject, raw_object
from workers.socket_events import LocalSockets

from dohost.config import WorkerConfig
from dohost.errors import HandlerMissing, UserCodeError
from dohost.objects.rpc import Method, method_table, refuse_method, to_remote_error
from dohost.runtime.legacy import legacy_exports
from dohost.runtime.loader import WorkerCode
from dohost.runtime.loans import Loan
from dohost.runtime.origin import Origin
from dohost.runtime.references import arguments_move, copy_result
from dohost.runtime.registry import SDK_ROOTS

if TYPE_CHECKING:
    from dohost.simulators.assets import Assets

Exports = Mapping[str, type]


class Fetch(Protocol):
    """Answers a request; `props` arrive as the entrypoint's `ctx.props`."""

    def __call__(
        self, request: Request, *, props: Mapping[str, object] | None = None
    ) -> Awaitable[Response]: ...


class ExecutionContext:
    """`ctx` of a stateless event."""

    __slots__ = ("_keep", "exports", "props")

    def __init__(
        self,
        keep: Callable[[Awaitable[object]], None],
        props: Mapping[str, object],
        exports: object,
    ) -> None:
        self._keep = keep
        self.props = props
        self.exports = exports

    def waitUntil(self, awaitable: Awaitable[object]) -> None:
        """Let `awaitable` run to its end after the answer has left."""
        self._keep(awaitable)

    def passThroughOnException(self) -> None:
        """Do nothing: there is no origin behind a worker here."""


class Generation:
    """One load of one worker's code."""

    def __init__(
        self, config: WorkerConfig, *, replaced: Mapping[str, ModuleType] | None = None
    ) -> None:
        """Load the code; `replaced` holds modules that it gets instead of the process's own."""
        self.config = config
        self.code = WorkerCode(config.name, config.main, replaced=replaced)
        self.module: ModuleType = self.code.load()
        self.switching = _switching() if self.code.waits_in_sync_code else None
        self.exports: Exports = self._exports()
        # Where requests for the worker go: to its code, or to static assets before it.
        self.front: Fetch = self.fetch
        self.assets: Assets | None = None
        self.env: object = None
        self.loopback: object = None
        self.context = contextvars.Context()
        self._entrypoints: dict[str, type] = {}
        self._fetcher: Fetcher | None = None
        self._keep: Callable[[Awaitable[object]], None] = _not_bound
        self._default_ctx: ExecutionContext | None = None
        self._moves_arguments = not self.has_flag("rpc_params_dup_stubs", since="2026-01-20")
        self.replies_to_close = self.has_flag(
            "web_socket_auto_reply_to_close",
            since="2026-04-07",
            opposite="web_socket_manual_reply_to_close",
        )
        self.compresses_sockets = self.has_flag("web_socket_compression", since="2023-08-15")

    def bind(
        self,
        env: object,
        exports: object,
        fetcher: Fetcher | None,
        keep: Callable[[Awaitable[object]], None],
    ) -> None:
        """Give the code its bindings; done once, before its first event."""
        self.env = env
        self._fetcher = fetcher
        self._keep = keep
        self.loopback = exports
        self._default_ctx = ExecutionContext(keep, JsObject(), exports)
        self.context.run(self.enter)

    def has_flag(self, flag: str, *, since: str, opposite: str | None = None) -> bool:
        """Return whether a compatibility flag is on: by name, or by the configured date.

        `opposite`: the flag that turns it off, where that is not its name with `no_` before it.
        """
        if opposite is not None and opposite in self.config.compatibility_flags:
            return False
        return self.config.has_flag(flag, since=since)

    def hint_for(self, missing: list[str]) -> str:
        """Return what to do about classes that are there but not exported."""
        hidden = [name for name in missing if isinstance(getattr(self.module, name, None), type)]
        return f" Add {', '.join(map(repr, hidden))} to its __all__." if hidden else ""

    def _exports(self) -> Exports:
        exports = _exports(self.module)
        if not self.has_flag("python_no_global_handlers", since="2025-08-14"):
            exports = legacy_exports(self.module, exports)
        if issubclass(exports.get("Default", object), DurableObject):
            raise UserCodeError(
                "The default export is a Durable Object; derive it from WorkerEntrypoint"
            )
        return exports

    def object_classes(self) -> list[str]:
        """Return the classes that have objects here: bound, or with storage by a migration alone."""
        bound = [
            binding.class_name
            for binding in self.config.durable_objects
            if binding.script_name in (None, self.config.name)
        ]
        unbound = [name for name in self.config.classes if name in self.exports]
        return list(dict.fromkeys((*bound, *unbound)))

    def missing_classes(self) -> list[str]:
        """Return the bound Durable Object classes that the main module does not export."""
        return [name for name in self.object_classes() if name not in self.exports]

    def check(self) -> list[str]:
        """Ask the main module's own `check(env)`, if it has one, what is wrong with its settings."""
        check = getattr(self.module, "check", None)
        return [str(problem) for problem in check(self.env)] if callable(check) else []

    def enter(self) -> None:
        """Make this worker's env, context and way out current in the running context."""
        current_env.set(self.env)
        current_ctx.set(self._default_ctx)
        outbound.set(self._fetcher)
        if self._moves_arguments:
            arguments_move.set(True)
        if not self.replies_to_close:
            current_sockets.set(LocalSockets(replies_to_close=False))

    async def fetch(
        self,
        request: Request,
        *,
        entrypoint: str = "Default",
        props: Mapping[str, object] | None = None,
    ) -> Response:
        """Send `request` to an entrypoint's `fetch`; raises what user code raised."""
        cls = self.exports.get(entrypoint) or self._entrypoint(entrypoint)
        handler = getattr(cls, "fetch", None)
        if handler is None:
            raise HandlerMissing(
                f"{cls.__name__} of worker {self.config.name!r} has no fetch() handler"
            )
        if self.switching is not None:
            handler = self.switching(handler)
        try:
            result = handler(cls(self._context_for(props), self.env), request)
            if not isinstance(result, Response):
                result = await result
        except SystemExit as error:
            raise UserCodeError(f"fetch() of {cls.__name__} called sys.exit()") from error
        if not isinstance(result, Response):
            raise UserCodeError(
                f"fetch() of {cls.__name__} must return a Response, not {type(result).__name__}"
            )
        return result

    async def handle(self, handler_name: str, event: object) -> None:
        """Give an event that is no request to the Default entrypoint; raises what user code raised."""
        cls = self._entrypoint("Default")
        handler = getattr(cls, handler_name, None)
        if handler is None:
            raise HandlerMissing(
                f"Default of worker {self.config.name!r} has no {handler_name}() handler"
            )
        ctx = self._context_for(None)
        given = (cls(ctx, self.env), event, self.env, ctx)[: _positional_max(handler)]
        if self.switching is not None:
            handler = self.switching(handler)
        try:
            result = handler(*given)
            if isinstance(result, Awaitable):
                await result
        except SystemExit as error:
            raise UserCodeError(f"{handler_name}() of {cls.__name__} called sys.exit()") from error

    async def call(
        self,
        method: str,
        args: tuple[object, ...],
        *,
        entrypoint: str,
        props: Mapping[str, object],
        loan: Loan | None,
    ) -> object:
        """Call an RPC method of an entrypoint; results and errors come as the other side sees them.

        `args` are copies; `loan` has the stubs among them, if there are any.
        """
        try:
            cls = self._entrypoint(entrypoint)
            ctx = self._context_for(props, loan)
            current_ctx.set(ctx)
            instance = cls(ctx, self.env)
            function = method_table(cls, roots=SDK_ROOTS).get(method)
            if function is None:
                raise refuse_method(cls, method, instance)
            if self.switching is not None:
                function = self.switching(function)
            result = function(instance, *args)
            if isinstance(result, Awaitable):
                result = await result
            return copy_result(result, Origin(None, hold=None if loan is None else loan.hold))
        except Exception as error:  # whatever user code raises crosses as a remote error
            raise to_remote_error(error, None) from error

    def _context_for(
        self, props: Mapping[str, object] | None, loan: Loan | None = None
    ) -> ExecutionContext:
        if not props and loan is None:
            assert self._default_ctx is not None, "a generation is bound before its first event"
            return self._default_ctx
        keep = self._keep if loan is None else partial(_keep_with, loan, self._keep)
        # A copy for each event: what one does to its props is not another's business.
        return ExecutionContext(keep, raw_object(props or {}), self.loopback)

    def _entrypoint(self, name: str) -> type:
        cls = self.exports.get(name)
        if cls is None:
            raise HandlerMissing(
                f"Worker {self.config.name!r} exports no entrypoint {name!r}. "
                f"Define `class {name}(WorkerEntrypoint)` in {self.config.main_name}."
            )
        return cls


def _positional_max(function: Callable[..., object]) -> int | None:
    """Return how many positional arguments a handler takes (None: any number); more are dropped."""
    parameters = inspect.signature(function).parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return None
    return sum(
        each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in parameters
    )


def _keep_with(
    loan: Loan, keep: Callable[[Awaitable[object]], None], awaitable: Awaitable[object]
) -> None:
    """Keep background work of an event, and until its end the stubs that the event duplicated."""
    release = loan.hold()
    future = asyncio.ensure_future(awaitable)
    future.add_done_callback(lambda _: release())
    keep(future)


def _switching() -> Callable[[Method], Callable[..., Awaitable[object]]]:
    # Only programs that wait in synchronous code pay for the library behind this.
    from dohost.runtime.stack_switching import switching

    return switching


def _exports(module: ModuleType) -> dict[str, type]:
    """Return the classes that the main module exports, by name."""
    listed = getattr(module, "__all__", None)
    found: dict[str, type] = {}
    for name, value in vars(module).items():
        is_public = not name.startswith("_") if listed is None else name in listed
        if not is_public or not isinstance(value, type) or value in SDK_ROOTS:
            continue
        # A class without the SDK's base may still be bound as a Durable Object that only has `fetch`,
        # if it is the module's own; of imported classes only the SDK's kind is meant.
        if issubclass(value, SDK_ROOTS) or value.__module__ == module.__name__:
            found[name] = value
            found.setdefault(value.__name__, value)
    return found


def _not_bound(awaitable: Awaitable[object]) -> None:
    raise AssertionError("a generation is bound before its first event")
