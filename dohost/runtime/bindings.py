"""From configuration to `env`: what a worker's code finds under the names of its bindings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Protocol

from workers.raw_values import raw

from dohost.clock import Clock
from dohost.config import DurableObjectBinding, WorkerConfig
from dohost.errors import JsException
from dohost.objects.namespace import DurableObjectNamespace
from dohost.runtime.rate_limits import RateLimit
from dohost.runtime.services import ServiceStub
from dohost.runtime.worker import Generation
from dohost.simulators.analytics_engine import AnalyticsEngineDataset
from dohost.simulators.hyperdrive import Hyperdrive
from dohost.simulators.resources import Resources

if TYPE_CHECKING:
    from dohost.simulators.assets import Assets


class Env:
    """A worker's bindings as attributes; a name that is not bound is an AttributeError that says which are."""

    def __init__(self, bindings: Mapping[str, object]) -> None:
        vars(self).update(bindings)

    def __getattr__(self, name: str) -> object:
        raise NotBound(name, vars(self).keys())

    def __repr__(self) -> str:
        # Names only: values may be secrets.
        return f"<Env {' '.join(sorted(vars(self)))}>"


class NotBound(AttributeError):
    """A name that `env` does not have; the message is made when somebody reads it, as probing is common."""

    def __init__(self, name: str, bindings: Iterable[str]) -> None:
        super().__init__(name=name)
        self._missing = name
        self._bindings = bindings

    def __str__(self) -> str:
        names = sorted(self._bindings)
        bound = f"bound are {', '.join(names)}." if names else "nothing is bound."
        near = get_close_matches(self._missing.upper(), names, n=1)
        suggestion = f" Did you mean {near[0]!r}?" if near else ""
        return f"env has no binding {self._missing!r}; {bound}{suggestion}"


class Directory(Protocol):
    """Finds what bindings point at, in this process."""

    def namespace(
        self, binding: DurableObjectBinding, own: WorkerConfig
    ) -> DurableObjectNamespace | None:
        """Return the namespace, or None if the worker that it belongs to is not here."""
        ...

    def worker(self, name: str) -> Generation | None:
        """Return the running code of a worker, or None if it is not here."""
        ...


class Unavailable:
    """A binding that this host has nothing for; any use says so."""

    __slots__ = ("_why",)

    def __init__(self, why: str) -> None:
        self._why = why

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        raise JsException(self._why)


def build_env(
    config: WorkerConfig,
    directory: Directory,
    *,
    clock: Clock,
    resources: Resources,
    assets: Assets | None = None,
) -> Env:
    """Return the `env` of one worker."""
    bindings: dict[str, object] = {name: raw(value) for name, value in config.vars.items()}
    for durable in config.durable_objects:
        namespace = directory.namespace(durable, config)
        bindings[durable.name] = namespace or Unavailable(
            f'env.{durable.name}: Worker "{durable.script_name}" not found. '
            "Make sure it is running locally."
        )
    for service in config.services:
        bindings[service.binding] = ServiceStub(
            service.service,
            partial(directory.worker, service.service),
            entrypoint=service.entrypoint or "Default",
            props=service.props,
        )
    for limit in config.ratelimits:
        bindings[limit.name] = RateLimit(limit=limit.limit, period_s=limit.period, clock=clock)
    if config.version_metadata is not None:
        bindings[config.version_metadata] = resources.version_metadata()
    for kv in config.kv_namespaces:
        bindings[kv.binding] = resources.kv_namespace(kv.id or kv.binding)
    for d1 in config.d1_databases:
        bindings[d1.binding] = resources.d1_database(d1.database_id or d1.binding)
    for r2 in config.r2_buckets:
        bindings[r2.binding] = resources.r2_bucket(r2.bucket_name or r2.binding)
    # Before this date of Cloudflare's, bodies crossed as V8 values.
    as_json = config.has_flag("queues_json_messages", since="2024-03-18")
    for producer in config.queue_producers:
        bindings[producer.binding] = resources.queue(
            producer.queue,
            delay_s=producer.delivery_delay or 0.0,
            content_type="json" if as_json else "v8",
        )
    for secret in config.secrets_store_secrets:
        bindings[secret.binding] = resources.secret(secret.secret_name, secret.value)
    for hyperdrive in config.hyperdrive:
        bindings[hyperdrive.binding] = Hyperdrive(
            hyperdrive.binding, hyperdrive.connection_string, port=hyperdrive.port
        )
    for dataset in config.analytics_engine_datasets:
        bindings[dataset.binding] = AnalyticsEngineDataset(dataset.dataset or dataset.binding)
    if config.assets is not None and config.assets.binding is not None:
        bindings[config.assets.binding] = assets
    for other in config.unsupported:
        bindings[other.binding] = Unavailable(
            f"env.{other.binding}: dohost has no local {other.kind}."
        )
    return Env(bindings)
