"""A host on a temporary directory, running code that the test writes."""

from __future__ import annotations

import textwrap
from pathlib import Path

from workers import Request, Response

from dohost.clock import ManualClock, SeededEntropy
from dohost.config import DurableObjectBinding, WorkerConfig
from dohost.runtime.host import Host, HostOptions
from dohost.runtime.lock import LockInfo
from dohost.telemetry import Event, Log

ENTRY = """
from workers import DurableObject, Response, WorkerEntrypoint

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("default")
"""


class Bench:
    """A running host with what tests ask of it."""

    def __init__(
        self, root: Path, *, evict_after_s: float | None = None, is_strict: bool = False
    ) -> None:
        self.root = root
        self.is_strict = is_strict
        self.evict_after_s = evict_after_s
        self.clock = ManualClock()
        self.events: list[Event] = []
        self.host = self._new_host()

    def _new_host(self) -> Host:
        return Host(
            HostOptions(
                persist=self.root / "data",
                clock=self.clock,
                entropy=SeededEntropy(1),
                log=Log(self.events.append),
                evict_after_s=self.evict_after_s,
                is_strict=self.is_strict,
                reload_grace_s=0.05,
            )
        )

    def config(self, code: str, *, name: str = "app", **options: object) -> WorkerConfig:
        """Write `code` as the main module of a worker and return its configuration."""
        directory = self.root / name
        directory.mkdir(exist_ok=True)
        main = directory / "entry.py"
        main.write_text(ENTRY + textwrap.dedent(code))
        classes = [
            line.split("(")[0].removeprefix("class ")
            for line in textwrap.dedent(code).splitlines()
            if line.startswith("class ") and "(DurableObject)" in line
        ]
        return WorkerConfig(
            name=name,
            main=main,
            config_path=directory / "wrangler.toml",
            durable_objects=tuple(
                DurableObjectBinding(name=each.upper(), class_name=each) for each in classes
            ),
            classes=dict.fromkeys(classes, "sqlite"),
            **options,  # type: ignore[arg-type]  # fields of WorkerConfig, by name
        )

    async def run(self, *workers: str | WorkerConfig) -> None:
        """Load workers: code, or a configuration."""
        if self.host._parts is None:
            await self.host.start(LockInfo(pid=1))
        await self.host.load(
            tuple(each if isinstance(each, WorkerConfig) else self.config(each) for each in workers)
        )

    async def restart(self, *workers: str | WorkerConfig) -> None:
        """Stop cleanly and run again on the same data."""
        await self.host.drain(grace_s=1)
        self.host = self._new_host()
        await self.run(*workers)

    def namespace(self, class_name: str = "Counter", *, worker: str = "app"):
        return self.host.classes[f"{worker}-{class_name}"].namespace

    def stub(self, name: str = "a", *, class_name: str = "Counter"):
        return self.namespace(class_name).getByName(name)

    def actor(self, name: str = "a", *, class_name: str = "Counter"):
        object_class = self.host.classes[f"app-{class_name}"]
        return object_class.actors.get(object_class.ids.from_name(name).toString())

    def pass_time(self, seconds: float) -> None:
        """Advance the clock and let the host evict what is idle by then."""
        self.clock.advance(seconds)
        self.host._evictor.look()

    async def get(self, url: str = "http://localhost/") -> Response:
        return await self.host.fetch(Request(url))
