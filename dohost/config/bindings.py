"""The bindings of one checked section, as values.

Shapes are already right (`sections`); what is checked here is what bindings mean together: one name
each, class names that can be part of a directory's name.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dohost.config import schema
from dohost.config.model import (
    DurableObjectBinding,
    Json,
    QueueConsumer,
    QueueProducer,
    RateLimitBinding,
    ServiceBinding,
    UnsupportedBinding,
)
from dohost.config.sections import Section
from dohost.config.shape import Findings, shown

# Cloudflare's limits of numbers in the `queues` table.
_QUEUE_NUMBERS = {
    "delivery_delay": (0, 86_400),
    "retry_delay": (0, 86_400),
    "max_batch_size": (1, 100),
    "max_batch_timeout": (0, 60),
    "max_retries": (0, 100),
    "max_concurrency": (1, 250),
}


def read_durable_objects(
    section: Section, worker: str | None, findings: Findings
) -> tuple[DurableObjectBinding, ...]:
    """Return the Durable Object bindings; an `environment` becomes part of the script name."""
    placed = section.get("durable_objects")
    if placed is None:
        return ()
    table = msgspec.convert(placed.value, dict[str, list[dict[str, object]]])
    bindings: list[DurableObjectBinding] = []
    for index, item in enumerate(table["bindings"]):
        path = (*placed.path, "bindings", index)
        script = item.get("script_name")
        environment = item.get("environment")
        if environment is not None and script is None:
            findings.problem(
                path, 'binding should have a "script_name" field if "environment" is present.'
            )
        if environment is not None and script is not None:
            script = f"{script}-{environment}"
        class_name = str(item["class_name"])
        if not class_name.isidentifier():  # it becomes part of a directory's name
            findings.problem(path, f'"class_name" should name a class but is {shown(class_name)}.')
        bindings.append(
            DurableObjectBinding(
                name=str(item["name"]),
                class_name=class_name,
                script_name=None if script is None or script == worker else str(script),
            )
        )
    return tuple(bindings)


def check_binding_names(
    section: Section, variables: Mapping[str, Json], findings: Findings
) -> None:
    """Two bindings of one name: the Worker would see only one of them."""
    owners = dict.fromkeys(variables, "vars")
    for key in schema.USED:
        placed = section.get(key)
        if placed is None or key == "vars":
            continue
        value = placed.value
        if key in {"durable_objects", "queues"} and isinstance(value, dict):
            value = value.get("bindings") or value.get("producers")
        for item in value if isinstance(value, list) else [value]:
            name = _binding_name(item)
            if name is None:
                continue
            if name in owners:
                findings.problem(
                    placed.path, f'The binding name "{name}" is used twice: {owners[name]}, {key}.'
                )
            owners[name] = key


def _binding_name(item: object) -> str | None:
    if not isinstance(item, dict):
        return None
    for key in ("binding", "name"):
        if isinstance(item.get(key), str):
            return str(item[key])
    return None


def read_services(section: Section) -> tuple[ServiceBinding, ...]:
    """Return the service bindings; an `environment` becomes part of the service name."""
    items = msgspec.convert(section.plain("services") or (), list[dict[str, object]])
    services: list[ServiceBinding] = []
    for item in items:
        environment = item.get("environment")
        service = f"{item['service']}-{environment}" if environment else item["service"]
        entrypoint, props = item.get("entrypoint"), item.get("props")
        services.append(
            ServiceBinding(
                binding=str(item["binding"]),
                service=str(service),
                entrypoint=None if entrypoint is None else str(entrypoint),
                props=props if isinstance(props, dict) else {},
            )
        )
    return tuple(services)


def read_ratelimits(section: Section) -> tuple[RateLimitBinding, ...]:
    """Return the rate limit bindings, flattened."""
    items = msgspec.convert(section.plain("ratelimits") or (), list[dict[str, object]])
    return tuple(
        msgspec.convert(
            {
                "name": item["name"],
                "namespace_id": str(item["namespace_id"]),
                **msgspec.convert(item["simple"], dict[str, object]),
            },
            RateLimitBinding,
        )
        for item in items
    )


def read_version_metadata(section: Section) -> str | None:
    """Return the name of the version metadata binding, if there is one."""
    value = section.plain("version_metadata")
    return str(value["binding"]) if isinstance(value, dict) else None


def read_queues(
    section: Section, findings: Findings
) -> tuple[tuple[QueueProducer, ...], tuple[QueueConsumer, ...]]:
    """Return the producers and consumers of the `queues` table."""
    placed = section.get("queues")
    if placed is None:
        return (), ()
    table = msgspec.convert(placed.value, dict[str, list[dict[str, object]]])
    for kind, items in table.items():
        for index, item in enumerate(items):
            for key in _QUEUE_NUMBERS.keys() & item.keys():
                low, high = _QUEUE_NUMBERS[key]
                number = msgspec.convert(item[key], float)
                if not low <= number <= high:
                    findings.problem(
                        (*placed.path, kind, index, key),
                        f'"{key}" should be from {low} to {high} but is {shown(item[key])}.',
                    )
    return (
        msgspec.convert(table.get("producers", ()), tuple[QueueProducer, ...]),
        msgspec.convert(table.get("consumers", ()), tuple[QueueConsumer, ...]),
    )


def read_unsupported(section: Section) -> tuple[UnsupportedBinding, ...]:
    """Return every binding that dohost can only name."""
    found: list[UnsupportedBinding] = []
    for key, kind in schema.UNSUPPORTED.items():
        value = section.plain(key)
        items = value if isinstance(value, list) else [] if value is None else [value]
        found += [
            UnsupportedBinding(kind=kind, binding=_binding_name(item) or key) for item in items
        ]
    return tuple(found)
