"""What a configuration file means, as frozen values.

Everything here is already checked, merged with its environment section and made absolute: who reads a
`WorkerConfig` needs to know neither wrangler's file formats nor its inheritance rules. Bindings that
dohost has no implementation for are carried too, so that banners and checks can name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import unquote, urlsplit

import msgspec

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
StorageFlavour: TypeAlias = Literal["sqlite", "kv"]
HtmlHandling: TypeAlias = Literal[
    "auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"
]
NotFoundHandling: TypeAlias = Literal["single-page-application", "404-page", "none"]


class DurableObjectBinding(msgspec.Struct, frozen=True, kw_only=True):
    """`env.<name>` is the namespace of `class_name`, in this Worker or in `script_name`."""

    name: str
    class_name: str
    script_name: str | None = None


class ServiceBinding(msgspec.Struct, frozen=True, kw_only=True):
    """`env.<binding>` calls another Worker; `props` arrive as its `ctx.props`."""

    binding: str
    service: str
    entrypoint: str | None = None
    props: Mapping[str, Json] = {}


class RateLimitBinding(msgspec.Struct, frozen=True, kw_only=True):
    """`env.<name>.limit()` allows `limit` calls per key in `period` seconds."""

    name: str
    namespace_id: str
    limit: int
    period: Literal[10, 60]


class KvBinding(msgspec.Struct, frozen=True, kw_only=True):
    """A Workers KV namespace."""

    binding: str
    id: str | None = None


class R2Binding(msgspec.Struct, frozen=True, kw_only=True):
    """An R2 bucket."""

    binding: str
    bucket_name: str | None = None


class D1Binding(msgspec.Struct, frozen=True, kw_only=True):
    """A D1 database."""

    binding: str
    database_name: str | None = None
    database_id: str | None = None


class QueueProducer(msgspec.Struct, frozen=True, kw_only=True):
    """`env.<binding>.send()` puts messages on `queue`."""

    binding: str
    queue: str
    delivery_delay: float | None = None


class QueueConsumer(msgspec.Struct, frozen=True, kw_only=True):
    """This Worker's `queue` handler takes batches from `queue`."""

    queue: str
    max_batch_size: int | None = None
    max_batch_timeout: float | None = None
    max_retries: int | None = None
    max_concurrency: int | None = None
    dead_letter_queue: str | None = None
    retry_delay: float | None = None


class AnalyticsBinding(msgspec.Struct, frozen=True, kw_only=True):
    """`env.<binding>.writeDataPoint()` writes to a dataset of Analytics Engine."""

    binding: str
    dataset: str | None = None


class HyperdriveBinding(msgspec.Struct, frozen=True, kw_only=True):
    """A database behind Hyperdrive; `port` is its kind's, for strings without one."""

    binding: str
    id: str
    connection_string: str | None = None
    port: int | None = None


class SecretsStoreBinding(msgspec.Struct, frozen=True, kw_only=True):
    """`await env.<binding>.get()` gives the value of a secret; None: no file has one."""

    binding: str
    secret_name: str
    value: str | None = None


class AssetsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Static files served before the Worker; `directory` is absolute.

    The Worker comes first for every request (`is_worker_first`), or for the paths of `worker_routes`
    that are not in `asset_routes`; `*` in these takes anything.
    """

    directory: Path
    binding: str | None = None
    html_handling: HtmlHandling = "auto-trailing-slash"
    not_found_handling: NotFoundHandling = "none"
    is_worker_first: bool = False
    worker_routes: tuple[str, ...] = ()
    asset_routes: tuple[str, ...] = ()


class UnsupportedBinding(msgspec.Struct, frozen=True, kw_only=True):
    """A binding of a `kind` that dohost can't provide; using it raises, naming both."""

    kind: str
    binding: str


class ClassRename(msgspec.Struct, frozen=True, kw_only=True):
    """Objects of class `from_class` become objects of `to_class` (`from_script`: of another Worker)."""

    from_class: str = msgspec.field(name="from")
    to_class: str = msgspec.field(name="to")
    from_script: str | None = None


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One tagged step in the life of a Worker's classes."""

    tag: str
    new_classes: tuple[str, ...] = ()
    new_sqlite_classes: tuple[str, ...] = ()
    renamed_classes: tuple[ClassRename, ...] = ()
    deleted_classes: tuple[str, ...] = ()
    transferred_classes: tuple[ClassRename, ...] = ()


class DevConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where `dohost dev` listens. `is_port_set`: the file names the port, so no other will do."""

    ip: str = "127.0.0.1"
    port: int = 8787
    local_protocol: Literal["http", "https"] = "http"
    is_port_set: bool = False


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One Worker, ready to be loaded.

    `classes` maps each Durable Object class to its storage flavour, as the migrations (or `exports`)
    leave it; `migrations` is the ordered list itself. `vars` holds strings and JSON values; the names
    in `secret_names` came from a secrets file and are never shown. `cpu_ms`: how much processor time an event
    may use. `main` is None for a site of static assets without code.
    """

    name: str
    main: Path | None
    config_path: Path
    compatibility_date: str | None = None
    compatibility_flags: frozenset[str] = frozenset()
    durable_objects: tuple[DurableObjectBinding, ...] = ()
    classes: Mapping[str, StorageFlavour] = {}
    migrations: tuple[Migration, ...] = ()
    vars: Mapping[str, Json] = {}
    secret_names: frozenset[str] = frozenset()
    services: tuple[ServiceBinding, ...] = ()
    ratelimits: tuple[RateLimitBinding, ...] = ()
    version_metadata: str | None = None
    crons: tuple[str, ...] = ()
    cpu_ms: int | None = None
    routes: tuple[str, ...] = ()
    kv_namespaces: tuple[KvBinding, ...] = ()
    r2_buckets: tuple[R2Binding, ...] = ()
    d1_databases: tuple[D1Binding, ...] = ()
    queue_producers: tuple[QueueProducer, ...] = ()
    queue_consumers: tuple[QueueConsumer, ...] = ()
    analytics_engine_datasets: tuple[AnalyticsBinding, ...] = ()
    hyperdrive: tuple[HyperdriveBinding, ...] = ()
    secrets_store_secrets: tuple[SecretsStoreBinding, ...] = ()
    assets: AssetsConfig | None = None
    dev: DevConfig = DevConfig()
    unsupported: tuple[UnsupportedBinding, ...] = ()

    @property
    def source_directory(self) -> Path:
        """Where the Worker's code is; of one without code, its configuration."""
        return (self.main or self.config_path).parent

    @property
    def main_name(self) -> str:
        """What messages call the main module."""
        return "main" if self.main is None else self.main.name

    def has_flag(self, flag: str, *, since: str) -> bool:
        """Return whether a compatibility flag is on: by name, or by the configured date."""
        if flag in self.compatibility_flags:
            return True
        is_off = f"no_{flag}" in self.compatibility_flags
        # ISO dates compare as text; without a date a worker gets today's behaviour.
        return not is_off and (self.compatibility_date or since) >= since

    def hidden_values(self) -> list[str]:
        """Return every value that must never be shown: secrets and connection strings."""
        values = [str(self.vars[name]) for name in self.secret_names]
        values += [each.value for each in self.secrets_store_secrets if each.value]
        for each in self.hyperdrive:
            if each.connection_string is not None:
                values.append(each.connection_string)
                password = urlsplit(each.connection_string).password or ""
                values += [password, unquote(password)] if password else []
        return values

    def unique_key(self, class_name: str) -> str:
        """Return the key that a namespace's ids and directory derive from, equal to wrangler's."""
        return f"{self.name}-{class_name}"


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says over the files.

    `vars` beat every file. `env_files` replace the look-up of secrets files. `name`, `main`, `assets` (their
    directory), `compatibility_date` and `compatibility_flags` apply to the primary Worker only.
    """

    vars: Mapping[str, str] = {}
    env_files: tuple[Path, ...] = ()
    name: str | None = None
    main: Path | None = None
    assets: Path | None = None
    compatibility_date: str | None = None
    compatibility_flags: tuple[str, ...] = ()


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """The Workers of one process, the primary first.

    `warnings` are complaints to act on; `notes` are facts worth one line (`Using secrets defined
    in .dev.vars`). `files` are all files read, for watching.
    """

    workers: tuple[WorkerConfig, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
