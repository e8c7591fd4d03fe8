"""Values that cross a call by reference: stubs of functions and RPC targets, and who ends them.

What crosses is exported once per crossing; the other side holds an `RpcStub`. A stub ends when it is
disposed (or nobody holds it any more), and with the last stub of an export the target's own `dispose()`
runs. Until then the origin of the value is kept alive.

Ownership is Cloudflare's. Stubs among the arguments of a call are a `Loan`: they end with the call, so the
callee duplicates what it wants to keep. Stubs in a result belong to the caller. A stub that the caller
passes on stays its own (since compatibility date 2026-01-20) or moves. Stubs of objects and services
arrive without id and name and are not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Self

from workers.arguments import clone_all
from workers.rpc import RpcTarget, Symbol
from workers.values import ByReference, JsDict, Transferable, clone

from dohost.errors import DataCloneError, JsException, JsTypeError
from dohost.objects.rpc import (
    TARGET_RESERVED,
    Method,
    Reply,
    method_table,
    refuse_target_method,
    to_remote_error,
)
from dohost.objects.stub import Fetcher, PassedFetcher
from dohost.runtime.leaving import when_durable
from dohost.runtime.loans import Loan
from dohost.runtime.moved_streams import StreamMover
from dohost.runtime.origin import GONE, Origin, Release, release_soon
from dohost.runtime.turns import Sink

DISPOSED = "RPC stub used after being disposed."

# Set in the context of a worker whose compatibility date is older than rpc_params_dup_stubs.
arguments_move: ContextVar[bool] = ContextVar("dohost_arguments_move", default=False)


class RpcStub(ByReference):
    """What the other side of a call holds of a function or an RPC target.

    Call it, or its methods; each call returns an awaitable. `with stub:`, `stub.dispose()` or
    `stub[Symbol.dispose]()` gives it back; `stub.dup()` returns one that ends on its own.
    """

    __slots__ = ("__weakref__", "_export", "_loan")

    def __init__(self, export: Export, loan: Loan | None) -> None:
        self._export: Export | None = export
        self._loan = loan
        export.stubs += 1

    def __call__(self, *args: object, **kwargs: object) -> Awaitable[object]:
        return self._call(None, *args, **kwargs)

    def __getattr__(self, name: str) -> partial[Awaitable[object]]:
        if name.startswith("__") and name.endswith("__"):
            # Protocol look-ups (copy, pickle, inspect) must not become calls.
            raise AttributeError(name)
        return partial(self._call, name)

    def __getitem__(self, key: object) -> Callable[[], None]:
        if key is not Symbol.dispose:
            raise KeyError(key)
        return self.dispose

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.dispose()

    def __del__(self) -> None:
        export = self._export
        if export is not None:
            release_soon(export.loop, export.released)

    def __repr__(self) -> str:
        return f"<RpcStub {'disposed' if self._export is None else self._export.label}>"

    def dup(self) -> RpcStub:
        """Return another stub of the same target, which ends on its own."""
        if self._export is None:
            raise JsException(DISPOSED)
        twin = RpcStub(self._export, self._loan)
        if self._loan is not None:
            self._loan.duplicated(twin)
        return twin

    def dispose(self) -> None:
        """End this stub; doing it again changes nothing."""
        export, self._export = self._export, None
        if export is not None:
            export.released()

    def _passed_on(self, loan: Loan | None) -> RpcStub:
        """Return what a further callee gets, as its loan, or a caller, as its own."""
        if self._export is None:
            raise JsException(DISPOSED)
        return RpcStub(self._export, loan)

    def _call(self, name: str | None, /, *args: object, **kwargs: object) -> Awaitable[object]:
        if kwargs:
            # JavaScript's calling convention: keywords travel as one trailing options object.
            args = (*args, kwargs)
        reply = Reply(loop=asyncio.get_running_loop())
        export = self._export
        if export is None:
            reply.reject(JsException(DISPOSED))
            return reply
        copies, loan = copy_arguments(args, is_worker=export.origin.owner is None)
        when_durable(lambda: export.call(name, copies, loan, reply), reply.reject)
        return reply


class Export:
    """One crossing of a function or RPC target: how it is called, and how many stubs there are."""

    __slots__ = ("_methods", "_release", "_value", "loop", "origin", "stubs")

    def __init__(self, value: object, origin: Origin) -> None:
        self.origin = origin
        self.loop = asyncio.get_running_loop()
        self.stubs = 0
        self._value = value
        self._methods: Mapping[str, Method] | None = None
        self._release: Release | None = origin.hold()

    @property
    def label(self) -> str:
        """What people call the target."""
        return getattr(self._value, "__qualname__", type(self._value).__name__)

    def call(
        self, name: str | None, args: tuple[object, ...], loan: Loan | None, reply: Reply
    ) -> None:
        """Call the target, or its method `name`, at its origin."""
        origin = self.origin
        if origin.is_gone:
            reply.reject(JsException(GONE))
            return
        sink = answers(origin, reply)
        origin.run(lambda: self._invoke(name, args), sink if loan is None else loan.until(sink))

    def released(self) -> None:
        """Count one stub less; after the last one the target's `dispose()` runs at its origin."""
        self.stubs -= 1
        if self.stubs > 0 or self._release is None:
            return
        release, self._release = self._release, None
        disposer = getattr(self._value, "dispose", None) if self._is_target else None
        if disposer is None or self.origin.is_gone:
            release()
        else:
            self.origin.run(disposer, _Disposal(release, self))

    @property
    def _is_target(self) -> bool:
        return isinstance(self._value, RpcTarget)

    def _invoke(self, name: str | None, args: tuple[object, ...]) -> object:
        target = self._value
        if name is None:
            if self._is_target or not callable(target):
                raise JsTypeError(f"{self.label} is not a function.")
            return target(*args)
        if self._methods is None:
            self._methods = (
                method_table(type(target), roots=(RpcTarget,), reserved=TARGET_RESERVED)
                if self._is_target
                else {}
            )
        method = self._methods.get(name)
        if method is None:
            raise refuse_target_method(name)
        return method(target, *args)


class DisposableDict(JsDict):
    """A result with stubs in it: disposing of it disposes of them all."""

    __slots__ = ()

    def __getitem__(self, key: object) -> object:
        return self._dispose if key is Symbol.dispose else super().__getitem__(key)  # type: ignore[index] # any key may be asked for

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._dispose()

    def _dispose(self) -> None:
        for stub in _stubs_in(self, set()):
            stub.dispose()


class WorkerSink:
    """Gives the outcome of a call to a worker, or of a callback of a worker, to the caller."""

    __slots__ = ("_origin", "_reply")

    def __init__(self, origin: Origin, reply: Reply) -> None:
        self._origin = origin
        self._reply = reply

    def returned(self, value: object) -> None:
        try:
            self._reply.resolve(copy_result(value, self._origin))
        except Exception as error:  # noqa: BLE001 - a value that can't cross is the caller's error
            self.raised(error)

    def raised(self, error: BaseException) -> None:
        self._reply.reject(to_remote_error(error, None))


def answers(origin: Origin, reply: Reply) -> Sink:
    """Return the sink through which an outcome leaves `origin`."""
    return WorkerSink(origin, reply) if origin.owner is None else origin.owner.answers(reply)


def copy_arguments(
    args: tuple[object, ...], *, is_worker: bool
) -> tuple[tuple[object, ...], Loan | None]:
    """Return copies of a call's arguments, and the loan if they are not plain data."""
    try:
        # The rare case pays twice, so that the common one pays nothing.
        return clone_all(args), None
    except DataCloneError:
        return lend(args, is_worker=is_worker)


def lend(args: tuple[object, ...], *, is_worker: bool) -> tuple[tuple[object, ...], Loan]:
    """Return copies of arguments that are not plain data, and the loan of the stubs among them.

    `is_worker`: the callee is an event of a worker, whose duplicates end with it.
    """
    loan = Loan(is_worker=is_worker)
    passing = _Passing(Origin.here(), loan)
    return clone_all(args, wrap=passing.wrap), loan


def copy_result(value: object, origin: Origin) -> object:
    """Return the copy of a call's result that the caller gets."""
    try:
        return clone(value)
    except DataCloneError:
        return give(value, origin)


def give(value: object, origin: Origin) -> object:
    """Return the copy of a result that is not plain data, with stubs that the caller owns."""
    passing = _Passing(origin, None)
    result = clone(value, wrap=passing.wrap)
    for stub in passing.moved:
        stub.dispose()
    if type(result) is JsDict:
        # In place: the copy may contain itself.
        object.__setattr__(result, "__class__", DisposableDict)
    return result


class _Passing:
    """One crossing of a value that is not plain data; with a loan, of an argument."""

    __slots__ = ("_loan", "_origin", "_streams", "moved")

    def __init__(self, origin: Origin, loan: Loan | None) -> None:
        self._origin = origin
        self._loan = loan
        self._streams = StreamMover(origin)
        self.moved: list[RpcStub] = []

    def wrap(self, value: object) -> object:
        """Return what stands for `value` on the other side; refuses what can't be passed."""
        match value:
            case Transferable():
                return value.transfer(self._streams)
            case RpcStub():
                return self._pass_stub(value)
            case PassedFetcher():
                return value
            case Fetcher():
                if value._unpassable is not None:
                    raise DataCloneError(value._unpassable)
                return PassedFetcher(value)
            case RpcTarget():
                return self._export(self._duplicate(value))
            case _:
                return self._export(value)

    def _duplicate(self, target: RpcTarget) -> object:
        """Return what is exported of an argument: its own `dup()`, if it has one."""
        dup = getattr(target, "dup", None)
        if dup is None or self._loan is None or arguments_move.get():
            return target
        return dup()

    def _export(self, value: object) -> RpcStub:
        return self._lent(RpcStub(Export(value, self._origin), self._loan))

    def _pass_stub(self, stub: RpcStub) -> RpcStub:
        passed = stub._passed_on(self._loan)
        if self._loan is None:
            self.moved.append(stub)
        elif arguments_move.get():
            stub.dispose()
        return self._lent(passed)

    def _lent(self, stub: RpcStub) -> RpcStub:
        if self._loan is not None:
            self._loan.lend(stub)
        return stub


class _Disposal:
    """The outcome of a target's `dispose()`: nobody waits for it, so a failure is reported."""

    __slots__ = ("_export", "_release")

    def __init__(self, release: Release, export: Export) -> None:
        self._release = release
        self._export = export

    def returned(self, value: object) -> None:
        self._release()

    def raised(self, error: BaseException) -> None:
        self._release()
        self._export.loop.call_exception_handler(
            {"message": f"dispose() of {self._export.label} failed", "exception": error}
        )


def _stubs_in(value: object, seen: set[int]) -> list[RpcStub]:
    if isinstance(value, RpcStub):
        return [value]
    if not isinstance(value, (dict, list, set)) or id(value) in seen:
        return []
    seen.add(id(value))
    items = value.values() if isinstance(value, dict) else value
    return [stub for item in items for stub in _stubs_in(item, seen)]
