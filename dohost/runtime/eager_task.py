"""A task whose first step runs at once: code that never suspends never visits the event loop.

Python 3.12 has such tasks; for 3.11 this is one. There is no gate here: these tasks run stateless events.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Coroutine
from typing import TypeVar

from dohost.runtime.custom_task import CustomTask, failure_of, swap_current_task

Result = TypeVar("Result")


class EagerTask(CustomTask):
    """Steps a coroutine; `start` takes the first step."""

    __slots__ = ()

    def start(self) -> None:
        """Run up to the first suspension, or to the end, before returning."""
        self._step(None)

    def _wakeup(self, future: asyncio.Future[object]) -> None:
        self._fut_waiter = None
        self._step(failure_of(future))

    def _step(self, error: BaseException | None) -> None:
        if self._must_cancel:
            error = self._due_cancellation(error)
        coro = self._coro
        assert coro is not None, "it is given to the constructor"
        previous = swap_current_task(self._loop_ref, self)
        try:
            if error is None:
                waits_for = self._context.run(coro.send, None)
            else:
                waits_for = self._context.run(coro.throw, error)
        except StopIteration as stop:
            if self._must_cancel:
                # As asyncio does: a cancellation that came during the last step still counts.
                self._must_cancel = False
                self._end_cancelled(msg=self._cancel_message)
            else:
                self._resolve(stop.value)
        except asyncio.CancelledError as cancelled:
            self._end_cancelled(msg=cancelled.args[0] if cancelled.args else None)
        except (KeyboardInterrupt, SystemExit) as ending:
            self._reject(ending)
            raise
        except BaseException as failure:  # noqa: BLE001 - whatever the code raises is the outcome
            self._reject(failure)
        else:
            self._suspend(waits_for)
        finally:
            swap_current_task(self._loop_ref, previous)
            if self.done():
                self._unregister()


def start_eagerly(
    coro: Coroutine[object, object, Result],
    *,
    loop: asyncio.AbstractEventLoop,
    context: contextvars.Context,
) -> asyncio.Future[Result]:
    """Return a task of `coro` that has taken its first step, and may be done."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(coro, loop=loop, context=context, eager_start=True)
    task = EagerTask(coro, loop=loop, context=context)
    task.start()
    return task  # type: ignore[return-value] # of the coroutine
