"""A host in the command line's own process, for work on a data directory that nobody serves.

Its answers pass through JSON like a server's, so a command can't tell the two apart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import uvloop

from dohost.cli.hosting import inspector_of, running_host
from dohost.cli.local_api import ObjectsApi
from dohost.config import WorkerConfig
from dohost.runtime.host import HostOptions
from dohost.runtime.known_objects import MissingFiles

Answer = TypeVar("Answer")


class OwnHost:
    """Answers as a server's local API does."""

    def __init__(self, runner: asyncio.Runner, api: ObjectsApi) -> None:
        self._runner = runner
        self._api = api

    def ask(self, name: str, arguments: Mapping[str, object], answer: type[Answer]) -> Answer:
        """Call the API here. Raises: CallerError, HostError."""
        result = self._runner.run(self._api.call(name, arguments))
        return msgspec.json.decode(msgspec.json.encode(result), type=answer)


@contextlib.contextmanager
def own_host(
    persist: Path, workers: tuple[WorkerConfig, ...], *, with_code: bool
) -> Iterator[OwnHost]:
    """Hold a data directory for a while. Raises: DataDirLocked, LoadFailed."""
    # Nothing is forgotten here: a missing file is something to tell, not to get over.
    # And nobody who asks for one object wants the alarms of all others to go off.
    options = HostOptions(
        persist=persist, missing_files=MissingFiles.quarantine, fires_alarms=False
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = contextlib.AsyncExitStack()
        host = runner.run(stack.enter_async_context(running_host(options)))
        try:
            if with_code:
                runner.run(host.load(workers))
            api = ObjectsApi("", host, lambda: inspector_of(host, persist, workers))
            yield OwnHost(runner, api)
        finally:
            runner.run(stack.aclose())
