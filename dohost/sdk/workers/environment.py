"""The module-level face of the running worker: `env`, `patch_env` and `wait_until`.

`env` looks its bindings up when they are used, not when it is imported, so a module may import it at the
top. A patch holds for the code inside the `with` block and for what that code starts, nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from workers.context import current_ctx, current_env


class _CurrentEnv:
    """The bindings of whichever worker runs now."""

    __slots__ = ()

    def __getattr__(self, name: str) -> object:
        bindings = current_env.get()
        if bindings is None:
            raise AttributeError(f"{name}: no worker is running here, so `env` has no bindings")
        return getattr(bindings, name)

    def __dir__(self) -> Iterable[str]:
        return dir(current_env.get())

    def __repr__(self) -> str:
        return f"<env {current_env.get()!r}>"


class _PatchedEnv:
    """Bindings with some of them replaced."""

    __slots__ = ("_base", "_changes")

    def __init__(self, base: object, changes: Mapping[str, object]) -> None:
        self._base = base
        self._changes = changes

    def __getattr__(self, name: str) -> object:
        if name in self._changes:
            return self._changes[name]
        if self._base is None:
            raise AttributeError(name)
        return getattr(self._base, name)

    def __dir__(self) -> Iterable[str]:
        return {*dir(self._base), *self._changes}

    def __repr__(self) -> str:
        return f"<{self._base!r} patched: {', '.join(sorted(self._changes))}>"


env = _CurrentEnv()


@contextmanager
def patch_env(
    changes: Mapping[str, object] | Iterable[tuple[str, object]] = (), /, **named: object
) -> Iterator[None]:
    """Replace bindings of `env` for the code inside the `with` block."""
    token = current_env.set(_PatchedEnv(current_env.get(), {**dict(changes), **named}))
    try:
        yield
    finally:
        current_env.reset(token)


def wait_until(awaitable: Awaitable[object]) -> None:
    """Keep the current event alive until `awaitable` is done. Raises: RuntimeError outside an event."""
    ctx = current_ctx.get()
    if ctx is None:
        raise RuntimeError("wait_until() was called outside an event of a worker")
    ctx.waitUntil(awaitable)


waitUntil = wait_until
