"""Every key that wrangler knows, with its shape.

Three kinds of key: those that dohost uses; those that are accepted by name and have no effect here
(`UNUSED`: deployment, bundling, accounts); and bindings that need Cloudflare's network or that dohost
doesn't provide (`UNSUPPORTED`), which appear as such in banners. What an `[env.X]` section inherits is
part of the format too, so it is here as well.
"""

from __future__ import annotations

from dohost.config.shape import Either, Field, ListOf, MapOf, Primitive, Shape, Table

STRING = Primitive(name="string")
INTEGER = Primitive(name="integer")
NUMBER = Primitive(name="number")
BOOLEAN = Primitive(name="boolean")
ANYTHING = Primitive(name="anything")
STRINGS = ListOf(item=STRING)
IGNORED = Field(shape=ANYTHING, is_used=False)


def _optional(shape: Shape = STRING) -> Field:
    return Field(shape=shape)


def _required(shape: Shape = STRING) -> Field:
    return Field(shape=shape, is_required=True)


def _choice(*choices: str | int) -> Primitive:
    return Primitive(name="string" if isinstance(choices[0], str) else "integer", choices=choices)


def _bindings(**fields: Field) -> ListOf:
    """Return the shape of a list of bindings; `remote` is wrangler's switch to the network."""
    return ListOf(item=Table(noun="binding", fields={**fields, "remote": IGNORED}))


_RENAME = Table(fields={"from": _required(), "to": _required()})
_TRANSFER = Table(fields={"from": _required(), "from_script": _required(), "to": _required()})
_MIGRATION = Table(
    noun="migration",
    fields={
        "tag": _required(),
        "new_classes": _optional(STRINGS),
        "new_sqlite_classes": _optional(STRINGS),
        "renamed_classes": _optional(ListOf(item=_RENAME)),
        "deleted_classes": _optional(STRINGS),
        "transferred_classes": _optional(ListOf(item=_TRANSFER)),
    },
)
_EXPORT = Table(
    fields={
        "type": _required(_choice("durable-object", "worker")),
        "storage": _optional(_choice("sqlite", "legacy-kv")),
        "state": _optional(
            _choice("created", "deleted", "renamed", "transferred", "expecting-transfer")
        ),
        "renamed_to": _optional(),
        "transferred_to": _optional(),
        "transfer_from": _optional(),
        "container": IGNORED,
        "cache": IGNORED,
    }
)
_DURABLE_OBJECTS = Table(
    fields={
        "bindings": _required(
            _bindings(
                name=_required(),
                class_name=_required(),
                script_name=_optional(),
                environment=_optional(),
            )
        )
    }
)
_ROUTE = Either(
    expected='a string or an object with a "pattern" string',
    shapes=(
        STRING,
        Table(
            fields={
                "pattern": _required(),
                **dict.fromkeys(("zone_name", "zone_id", "custom_domain"), IGNORED),
            }
        ),
    ),
)
_QUEUES = Table(
    fields={
        "producers": _optional(
            _bindings(binding=_required(), queue=_required(), delivery_delay=_optional(NUMBER))
        ),
        "consumers": _optional(
            ListOf(
                item=Table(
                    noun="consumer",
                    fields={
                        "queue": _required(),
                        "max_batch_size": _optional(INTEGER),
                        "max_batch_timeout": _optional(NUMBER),
                        "max_retries": _optional(INTEGER),
                        "dead_letter_queue": _optional(),
                        "retry_delay": _optional(NUMBER),
                        "max_concurrency": _optional(INTEGER),
                        "type": IGNORED,
                    },
                )
            )
        ),
    }
)
_RATE_LIMITS = _bindings(
    name=_required(),
    namespace_id=_required(Either(shapes=(STRING, INTEGER), expected="a string")),
    simple=_required(
        Table(fields={"limit": _required(INTEGER), "period": _required(_choice(10, 60))})
    ),
    type=IGNORED,
)
_ASSETS = Table(
    fields={
        "directory": _required(),
        "binding": _optional(),
        "html_handling": _optional(
            _choice("auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none")
        ),
        "not_found_handling": _optional(_choice("single-page-application", "404-page", "none")),
        "run_worker_first": _optional(
            Either(shapes=(BOOLEAN, STRINGS), expected="an array of strings or a boolean")
        ),
    }
)
_DEV = Table(
    fields={
        "ip": _optional(),
        "port": _optional(INTEGER),
        "local_protocol": _optional(_choice("http", "https")),
        **dict.fromkeys(
            (
                "inspector_port",
                "inspector_ip",
                "upstream_protocol",
                "host",
                "enable_containers",
                "container_engine",
                "generate_types",
            ),
            IGNORED,
        ),
    }
)

USED: dict[str, Shape] = {
    "name": STRING,
    "main": STRING,
    "compatibility_date": STRING,
    "compatibility_flags": STRINGS,
    "migrations": ListOf(item=_MIGRATION),
    "exports": MapOf(value=_EXPORT),
    "triggers": Table(fields={"crons": _optional(STRINGS)}),
    "limits": Table(fields={"cpu_ms": _optional(INTEGER), "subrequests": IGNORED}),
    "routes": ListOf(item=_ROUTE),
    "route": _ROUTE,
    "assets": _ASSETS,
    "vars": MapOf(value=ANYTHING),
    "secrets": Table(fields={"required": _optional(STRINGS)}),
    "durable_objects": _DURABLE_OBJECTS,
    "services": _bindings(
        binding=_required(),
        service=_required(),
        entrypoint=_optional(),
        environment=_optional(),
        props=_optional(MapOf(value=ANYTHING)),
    ),
    "kv_namespaces": _bindings(binding=_required(), id=_optional(), preview_id=IGNORED),
    "r2_buckets": _bindings(
        binding=_required(),
        bucket_name=_optional(),
        preview_bucket_name=IGNORED,
        jurisdiction=IGNORED,
    ),
    "d1_databases": _bindings(
        binding=_required(),
        database_name=_optional(),
        database_id=_optional(),
        preview_database_id=IGNORED,
        migrations_dir=IGNORED,
        migrations_table=IGNORED,
    ),
    "queues": _QUEUES,
    "analytics_engine_datasets": _bindings(binding=_required(), dataset=_optional()),
    "hyperdrive": _bindings(binding=_required(), id=_required(), localConnectionString=_optional()),
    "secrets_store_secrets": _bindings(
        binding=_required(), store_id=_required(), secret_name=_required()
    ),
    "ratelimits": _RATE_LIMITS,
    "version_metadata": Table(noun="binding", fields={"binding": _required()}),
    "dev": _DEV,
}

# Key of the file → resource as wrangler's banner calls it.
UNSUPPORTED = {
    "ai": "AI",
    "ai_search": "AI Search",
    "ai_search_namespaces": "AI Search Namespace",
    "artifacts": "Artifacts",
    "browser": "Browser",
    "containers": "Container",
    "dispatch_namespaces": "Dispatch Namespace",
    "flagship": "Flagship",
    "images": "Images",
    "media": "Media",
    "mtls_certificates": "mTLS Certificate",
    "pipelines": "Pipeline",
    "send_email": "Send Email",
    "stream": "Stream",
    "unsafe": "Unsafe Metadata",
    "vectorize": "Vectorize Index",
    "vpc_networks": "VPC Network",
    "vpc_services": "VPC Service",
    "worker_loaders": "Worker Loader",
    "workflows": "Workflow",
}

INHERITED = frozenset(
    [
        "name",
        "account_id",
        "compatibility_date",
        "compatibility_flags",
        "main",
        "find_additional_modules",
        "preserve_file_names",
        "base_dir",
        "workers_dev",
        "preview_urls",
        "routes",
        "route",
        "tsconfig",
        "jsx_factory",
        "jsx_fragment",
        "migrations",
        "exports",
        "triggers",
        "limits",
        "rules",
        "build",
        "no_bundle",
        "minify",
        "keep_names",
        "logpush",
        "upload_source_maps",
        "placement",
        "assets",
        "observability",
        "cache",
        "python_modules",
        "compliance_region",
        "previews",
        "first_party_worker",
    ]
)
_TOP_LEVEL_ONLY_UNUSED = frozenset(
    [
        "$schema",
        "alias",
        "site",
        "send_metrics",
        "keep_vars",
        "legacy_env",
        "wasm_modules",
        "text_blobs",
        "data_blobs",
        "pages_build_output_dir",
    ]
)
TOP_LEVEL_ONLY = _TOP_LEVEL_ONLY_UNUSED | {"dev", "env"}
UNUSED = frozenset(
    (INHERITED - USED.keys())
    | _TOP_LEVEL_ONLY_UNUSED
    | {"define", "tail_consumers", "streaming_tail_consumers"}
)
KNOWN = frozenset({*USED, *UNUSED, *UNSUPPORTED, "env"})
NOT_INHERITED = KNOWN - INHERITED - TOP_LEVEL_ONLY
