"""How the work of a binding leaves user code.

A binding is another machine to the object that uses it. What changes something there must not happen
before the object's own writes are durable (its output gate), and while the work runs other events of the
object may run (it is outside the input gate). The runtime knows both; a simulator only says which of its
calls change something.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Outlet(Protocol):
    """Runs work for user code, outside its turn."""

    def read(self, work: Callable[[], Coroutine[object, object, Result]]) -> Awaitable[Result]:
        """Start `work` now."""
        ...

    def write(self, work: Callable[[], Coroutine[object, object, Result]]) -> Awaitable[Result]:
        """Start `work` when the caller's writes so far are durable; if they fail, it never starts."""
        ...

    async def drain(self) -> None:
        """Wait until everything that was started has ended."""
        ...
