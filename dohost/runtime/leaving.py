"""What leaves an object goes when the writes before it are durable."""

from __future__ import annotations

from collections.abc import Callable

from dohost.runtime.turns import current_owner


def when_durable(go: Callable[[], None], fail: Callable[[BaseException], None]) -> None:
    """Run `go` when every confirmed write of the running object is durable: now, if it is."""
    owner = current_owner.get()
    barrier = None if owner is None else owner.barrier()
    if barrier is None:
        go()
    else:
        barrier.add_callback(lambda error: go() if error is None else fail(error))
