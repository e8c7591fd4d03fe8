"""From configuration to `env`: what a worker's code finds under the names of its bindings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

from workers import Request, Response
from workers.values import ByReference, JsDict

from dohost.clock import Clock
from dohost.config import DurableObjectBinding, ServiceBinding, WorkerConfig
from dohost.errors import JsException
from dohost.objects.namespace import DurableObjectNamespace
from dohost.runtime.rate_limits import RateLimit


class Env:
    """A worker's bindings as attributes; a name that is not bound is an AttributeError."""

    def __init__(self, bindings: Mapping[str, object]) -> None:
        vars(self).update(bindings)

    def __getattr__(self, name: str) -> object:
        raise AttributeError(name)

    def __repr__(self) -> str:
        # Names only: values may be secrets.
        return f"<Env {' '.join(sorted(vars(self)))}>"


class JsonObject(JsDict):
    """A JSON variable that is an object; `to_py()` gives plain values, as on Cloudflare."""

    __slots__ = ()

    def to_py(self, **options: object) -> dict[str, object]:
        return {name: _plain(value) for name, value in self.items()}


class JsonArray(list[object]):
    """A JSON variable that is an array."""

    __slots__ = ()

    def to_py(self, **options: object) -> list[object]:
        return [_plain(value) for value in self]


class Directory(Protocol):
    """Finds what bindings point at, in this process."""

    def namespace(
        self, binding: DurableObjectBinding, own: WorkerConfig
    ) -> DurableObjectNamespace | None:
        """Return the namespace, or None if the worker that it belongs to is not here."""
        ...

    def fetch_entrypoint(self, binding: ServiceBinding, request: Request) -> Awaitable[Response]:
        """Send a request to another worker."""
        ...

    def call_entrypoint(
        self, binding: ServiceBinding, method: str, args: tuple[object, ...]
    ) -> Awaitable[object]:
        """Call a method of another worker's entrypoint."""
        ...


class ServiceStub(ByReference):
    """A service binding: `fetch` and every other name are sent to the other worker."""

    __slots__ = ("_binding", "_directory")

    def __init__(self, binding: ServiceBinding, directory: Directory) -> None:
        self._binding = binding
        self._directory = directory

    def fetch(self, resource: str | Request, **options: object) -> Awaitable[Response]:
        """Send a request to the other worker's `fetch` handler."""
        if options or type(resource) is not Request:
            resource = Request(resource, **options)  # type: ignore[arg-type] # checked by Request
        return self._directory.fetch_entrypoint(self._binding, resource)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return partial(self._call, name)

    def _call(self, name: str, /, *args: object, **kwargs: object) -> Awaitable[object]:
        if kwargs:
            args = (*args, kwargs)
        return self._directory.call_entrypoint(self._binding, name, args)

    def __repr__(self) -> str:
        return f"<ServiceStub {self._binding.service}>"


class Unavailable:
    """A binding that this host has nothing for; any use says so."""

    __slots__ = ("_why",)

    def __init__(self, why: str) -> None:
        self._why = why

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        raise JsException(self._why)


def build_env(config: WorkerConfig, directory: Directory, clock: Clock) -> Env:
    """Return the `env` of one worker."""
    bindings: dict[str, object] = {name: json_value(value) for name, value in config.vars.items()}
    for durable in config.durable_objects:
        namespace = directory.namespace(durable, config)
        bindings[durable.name] = namespace or Unavailable(
            f'env.{durable.name}: Worker "{durable.script_name}" not found. '
            "Make sure it is running locally."
        )
    for service in config.services:
        bindings[service.binding] = ServiceStub(service, directory)
    for limit in config.ratelimits:
        bindings[limit.name] = RateLimit(limit=limit.limit, period_s=limit.period, clock=clock)
    if config.version_metadata is not None:
        bindings[config.version_metadata] = JsDict(id="local", tag="", timestamp="0")
    for kind, name in _unsupported(config):
        bindings[name] = Unavailable(f"env.{name}: dohost has no local {kind} yet.")
    return Env(bindings)


def json_value(value: object) -> object:
    """Return a variable as Worker code sees it: text as str, objects and arrays with `to_py()`."""
    if isinstance(value, Mapping):
        return JsonObject({name: json_value(item) for name, item in value.items()})
    if isinstance(value, (list, tuple)):
        return JsonArray([json_value(item) for item in value])
    return value


def _plain(value: object) -> object:
    return value.to_py() if isinstance(value, (JsonObject, JsonArray)) else value


def _unsupported(config: WorkerConfig) -> list[tuple[str, str]]:
    found = [("KV namespace", kv.binding) for kv in config.kv_namespaces]
    found += [("R2 bucket", r2.binding) for r2 in config.r2_buckets]
    found += [("D1 database", d1.binding) for d1 in config.d1_databases]
    found += [("queue", queue.binding) for queue in config.queue_producers]
    found += [(other.kind, other.binding) for other in config.unsupported]
    return found
