"""One checked section becomes one `WorkerConfig`.

By now every value has the right type (`sections`), so this file is about meaning: names that can be
directories, a `main` that exists, bindings that agree with migrations. All findings are written
down, none is raised.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from dohost.config.assets import check_site, read_assets
from dohost.config.bindings import (
    check_binding_names,
    read_durable_objects,
    read_queues,
    read_ratelimits,
    read_services,
    read_unsupported,
    read_version_metadata,
)
from dohost.config.document import Document
from dohost.config.migrations import declares_objects, evaluate_exports, evaluate_migrations
from dohost.config.model import (
    AnalyticsBinding,
    D1Binding,
    DevConfig,
    DurableObjectBinding,
    Json,
    KvBinding,
    Migration,
    Overrides,
    R2Binding,
    StorageFlavour,
    WorkerConfig,
)
from dohost.config.sections import Section
from dohost.config.shape import Findings, dotted, shown

CPU_MS_MAX = 300_000
_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MIGRATIONS_ADVICE = {
    "toml": '[[migrations]]\ntag = "v1"\nnew_sqlite_classes = {classes}',
    "json": '"migrations": [{{"tag": "v1", "new_sqlite_classes": {classes}}}]',
}


class Lifecycle(msgspec.Struct, frozen=True, kw_only=True):
    """The Durable Object classes of a Worker and how they came to be."""

    migrations: tuple[Migration, ...] = ()
    classes: Mapping[str, StorageFlavour] = {}


def build_worker(
    document: Document, section: Section, *, overrides: Overrides, findings: Findings
) -> WorkerConfig | None:
    """Return the Worker, or None when something essential is missing (then there are problems)."""
    name = _worker_name(section, overrides, findings)
    assets = read_assets(document, section, findings, directory=overrides.assets)
    is_site = assets is not None and overrides.main is None and section.get("main") is None
    main = None if is_site else _main(document, section, overrides=overrides, findings=findings)
    flags = frozenset([*_strings(section, "compatibility_flags"), *overrides.compatibility_flags])
    if main is not None and "python_workers" not in flags:
        findings.problem(
            ("compatibility_flags",),
            "The `python_workers` compatibility flag is required to use Python.",
        )
    lifecycle = _lifecycle(section, findings)
    objects = read_durable_objects(section, name, findings)
    _check_classes(document, objects, lifecycle=lifecycle, findings=findings)
    date = _compatibility_date(section, overrides, findings)
    variables = _vars(section, findings)
    check_binding_names(section, variables, findings)
    if is_site:
        check_site(section, objects, findings)
    if name is None or (main is None and not is_site):
        return None
    producers, consumers = read_queues(section, findings)
    return WorkerConfig(
        name=name,
        main=main,
        config_path=document.path,
        compatibility_date=date,
        compatibility_flags=flags,
        durable_objects=objects,
        classes=lifecycle.classes,
        migrations=lifecycle.migrations,
        vars=variables,
        services=read_services(section),
        ratelimits=read_ratelimits(section),
        version_metadata=read_version_metadata(section),
        crons=_crons(section),
        cpu_ms=_cpu_ms(section, findings),
        routes=_routes(section),
        kv_namespaces=msgspec.convert(section.plain("kv_namespaces") or (), tuple[KvBinding, ...]),
        r2_buckets=msgspec.convert(section.plain("r2_buckets") or (), tuple[R2Binding, ...]),
        d1_databases=msgspec.convert(section.plain("d1_databases") or (), tuple[D1Binding, ...]),
        queue_producers=producers,
        queue_consumers=consumers,
        analytics_engine_datasets=msgspec.convert(
            section.plain("analytics_engine_datasets") or (), tuple[AnalyticsBinding, ...]
        ),
        assets=assets,
        dev=_dev(section, findings),
        unsupported=read_unsupported(section),
    )


def _cpu_ms(section: Section, findings: Findings) -> int | None:
    limits = section.get("limits")
    if limits is None:
        return None
    cpu_ms = msgspec.convert(limits.value, dict[str, object]).get("cpu_ms")
    if not isinstance(cpu_ms, int):
        return None
    if not 1 <= cpu_ms <= CPU_MS_MAX:
        path = (*limits.path, "cpu_ms")
        findings.problem(
            path, f'Expected "{dotted(path)}" to be from 1 to {CPU_MS_MAX} but got {cpu_ms}.'
        )
    return cpu_ms


def _strings(section: Section, key: str) -> tuple[str, ...]:
    return msgspec.convert(section.plain(key) or (), tuple[str, ...])


def _worker_name(section: Section, overrides: Overrides, findings: Findings) -> str | None:
    placed = section.get("name")
    if overrides.name is not None:
        name: object = overrides.name
    elif "name" in section.rejected:
        return None
    elif placed is None:
        name = "worker"
        findings.warn(
            (),
            'No "name": objects are kept under the name "worker". '
            'Give the Worker a name of its own, e.g. "name": "my-app".',
        )
    else:
        name = placed.value
    is_inherited = placed is None or placed.path[0] != "env"
    if section.env is not None and is_inherited and overrides.name is None:
        name = f"{name}-{section.env}"
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    findings.problem(
        placed.path if placed else (),
        'Expected "name" to be of type string, alphanumeric and lowercase with dashes only '
        f"but got {shown(name)}.",
    )
    return None


def _main(
    document: Document, section: Section, *, overrides: Overrides, findings: Findings
) -> Path | None:
    placed = section.get("main")
    if overrides.main is not None:
        path, given = overrides.main, str(overrides.main)
    elif placed is not None:
        given = str(placed.value)
        path = document.path.parent / given
    else:
        if "main" not in section.rejected:
            findings.problem(
                (),
                'Missing "main": name the file with your Worker, e.g. "main": "src/entry.py". '
                'A site without code needs "assets".',
            )
        return None
    where = placed.path if placed and overrides.main is None else ()
    if path.suffix != ".py":
        findings.problem(where, f'"main" must be a Python file (*.py) but is {shown(given)}.')
        return None
    if not path.is_file():
        findings.problem(where, f"The entry-point file at {shown(given)} was not found.")
        return None
    return path.resolve()


def _compatibility_date(section: Section, overrides: Overrides, findings: Findings) -> str | None:
    placed = section.get("compatibility_date")
    date = overrides.compatibility_date or (placed.value if placed else None)
    if date is None:
        if "compatibility_date" not in section.rejected:
            findings.warn(
                (),
                'No "compatibility_date": dohost behaves as of its newest. '
                "Cloudflare requires one to deploy.",
            )
        return None
    text = str(date)
    if not _is_date(text):
        findings.problem(
            placed.path if placed else (),
            f'"compatibility_date" should be a date such as "2026-08-01" but got {shown(date)}.',
        )
    return text


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return _DATE.fullmatch(text) is not None


def _lifecycle(section: Section, findings: Findings) -> Lifecycle:
    migrations, exports = section.get("migrations"), section.get("exports")
    if exports is not None and declares_objects(exports):
        if migrations is not None and migrations.value:
            findings.problem(
                exports.path,
                "`migrations` and `exports` are mutually exclusive. Choose one or the other to "
                "declare your Durable Object lifecycle, but not both.",
            )
        steps, classes = evaluate_exports(exports)
        return Lifecycle(migrations=steps, classes=classes)
    if migrations is None:
        return Lifecycle()
    steps, classes = evaluate_migrations(migrations, findings)
    return Lifecycle(migrations=steps, classes=classes)


def _check_classes(
    document: Document,
    objects: tuple[DurableObjectBinding, ...],
    *,
    lifecycle: Lifecycle,
    findings: Findings,
) -> None:
    """Warn of classes of this Worker that no migration creates: Cloudflare would refuse them."""
    own = dict.fromkeys(item.class_name for item in objects if item.script_name is None)
    missing = [name for name in own if name not in lifecycle.classes]
    if not missing or findings.problems:
        return
    advice = _MIGRATIONS_ADVICE[document.dialect].format(classes=shown(missing))
    findings.warn(
        ("durable_objects",),
        f"In your {document.path.name} file, you have configured `durable_objects` exported by "
        f"this Worker ({', '.join(missing)}), but no `migrations` for them. This may not work as "
        f"expected until you add to your {document.path.name} file:\n\n{advice}\n",
    )


def _vars(section: Section, findings: Findings) -> dict[str, Json]:
    placed = section.get("vars")
    if placed is None:
        return {}
    if not isinstance(placed.value, dict):
        findings.problem(
            placed.path, f'The field "vars" should be an object but got {shown(placed.value)}.'
        )
        return {}
    variables: dict[str, Json] = {}
    for name, value in placed.value.items():
        dated = _find_date(value, name)
        if dated is None:
            variables[name] = value
            continue
        where, date = dated
        example = f'{where.rsplit(".", 1)[-1]} = "{date}"'
        findings.problem(
            (*placed.path, name),
            f'The field "vars.{where}" is a TOML date, which is not supported. '
            f"Please use a string instead, e.g. {example}.",
        )
    return variables


def _find_date(value: object, name: str) -> tuple[str, str] | None:
    """Return where in a var a TOML date or time hides, and its text."""
    if isinstance(value, datetime.date | datetime.time):
        return name, value.isoformat()
    inner: list[tuple[str, object]] = []
    if isinstance(value, dict):
        inner = [(f"{name}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list):
        inner = [(f"{name}[{index}]", item) for index, item in enumerate(value)]
    return next((found for key, item in inner if (found := _find_date(item, key))), None)


def _crons(section: Section) -> tuple[str, ...]:
    value = section.plain("triggers")
    return (
        msgspec.convert(value.get("crons", ()), tuple[str, ...]) if isinstance(value, dict) else ()
    )


def _routes(section: Section) -> tuple[str, ...]:
    single = section.plain("route")
    routes = section.plain("routes") or ([] if single is None else [single])
    assert isinstance(routes, list), "checked against the schema"
    return tuple(str(item["pattern"]) if isinstance(item, dict) else str(item) for item in routes)


def _dev(section: Section, findings: Findings) -> DevConfig:
    placed = section.get("dev")
    if placed is None:
        return DevConfig()
    table = msgspec.convert(placed.value, dict[str, object])
    port = table.get("port", 8787)
    if not isinstance(port, int) or not 0 <= port <= 65535:
        findings.problem(
            (*placed.path, "port"), f'Expected "dev.port" to be from 0 to 65535 but got {port}.'
        )
    known = {key: table[key] for key in ("ip", "port", "local_protocol") if key in table}
    return msgspec.convert(known | {"is_port_set": "port" in table}, DevConfig)
