"""The start-up table of bindings, laid out as wrangler's, so that a trained eye reads it at once.

Pure: a `WorkerConfig` in, rows or text out. Values of secrets never reach a row.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec
from rich.text import Text

from dohost.config import DurableObjectBinding, Json, WorkerConfig

VALUE_CHARACTERS_MAX = 40
HIDDEN = "(hidden)"
NOT_SUPPORTED = "not supported"
_HEADINGS = ("Binding", "Resource", "Mode")


class BindingRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table."""

    binding: str
    resource: str
    mode: str = "local"

    @property
    def cells(self) -> tuple[str, str, str]:
        """The columns in order."""
        return (self.binding, self.resource, self.mode)


def binding_rows(worker: WorkerConfig, *, running: Collection[str]) -> list[BindingRow]:
    """Return the bindings of `worker`; `running` names the Workers of this process."""
    return [
        *(_object_row(item, running) for item in worker.durable_objects),
        *_local_rows(worker),
        *(
            BindingRow(
                binding=_named(item.binding, _entrypoint(item.service, item.entrypoint)),
                resource="Worker",
                mode=_connection(item.service, running),
            )
            for item in worker.services
        ),
        *_simulated_elsewhere(worker),
        *(_variable_row(worker, name, value) for name, value in worker.vars.items()),
    ]


def bindings_text(rows: Sequence[BindingRow]) -> Text:
    """Return the table under its heading, or wrangler's sentence for none."""
    if not rows:
        return Text("No bindings found.\n")
    widths = [max(len(row.cells[column]) for row in rows) if rows else 0 for column in range(3)]
    widths = [max(width, len(title)) for width, title in zip(widths, _HEADINGS, strict=True)]
    text = Text("Your Worker has access to the following bindings:\n")
    text.append(_line(_HEADINGS, widths), style="bold")
    for row in rows:
        style = "dim" if row.mode == NOT_SUPPORTED else ""
        text.append(_line(row.cells, widths), style=style)
    return text


def title_text(version: str) -> Text:
    """Return the first two lines."""
    title = f" dohost {version}"
    return Text.assemble("\n", (title, "bold"), "\n", "─" * (len(title) + 1), "\n")


def links_text(links: Iterable[tuple[str, str]]) -> Text:
    """Return one line per named address."""
    text = Text()
    for label, url in links:
        text.append(f"{label:<10}", style="dim").append(f"{url}\n", style="cyan")
    return text


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return "    ".join(padded).rstrip() + "\n"


def _named(binding: str, detail: str | None) -> str:
    return f"env.{binding} ({detail})" if detail else f"env.{binding}"


def _entrypoint(service: str, entrypoint: str | None) -> str:
    return f"{service}#{entrypoint}" if entrypoint else service


def _connection(service: str, running: Collection[str]) -> str:
    return "local [connected]" if service in running else "local [not connected]"


def _object_row(item: DurableObjectBinding, running: Collection[str]) -> BindingRow:
    if item.script_name is None:
        return BindingRow(binding=_named(item.name, item.class_name), resource="Durable Object")
    return BindingRow(
        binding=_named(item.name, f"{item.class_name}, defined in {item.script_name}"),
        resource="Durable Object",
        mode=_connection(item.script_name, running),
    )


def _local_rows(worker: WorkerConfig) -> Iterator[BindingRow]:
    simulated: list[tuple[str, str | None, str]] = [
        *((kv.binding, kv.id, "KV Namespace") for kv in worker.kv_namespaces),
        *((r2.binding, r2.bucket_name, "R2 Bucket") for r2 in worker.r2_buckets),
        *((d1.binding, d1.database_name, "D1 Database") for d1 in worker.d1_databases),
        *((queue.binding, queue.queue, "Queue") for queue in worker.queue_producers),
        *(
            (each.binding, each.dataset, "Analytics Engine Dataset")
            for each in worker.analytics_engine_datasets
        ),
        *((each.binding, each.id, "Hyperdrive Config") for each in worker.hyperdrive),
        *(
            (each.binding, each.secret_name, "Secrets Store Secret")
            for each in worker.secrets_store_secrets
        ),
    ]
    for binding, name, resource in simulated:
        yield BindingRow(binding=_named(binding, name), resource=resource)
    for item in worker.ratelimits:
        detail = f"{item.limit} requests/{item.period}s"
        yield BindingRow(binding=_named(item.name, detail), resource="Rate Limit")
    if worker.assets is not None and worker.assets.binding is not None:
        yield BindingRow(binding=_named(worker.assets.binding, None), resource="Assets")
    if worker.version_metadata is not None:
        yield BindingRow(
            binding=_named(worker.version_metadata, None), resource="Worker Version Metadata"
        )


def _simulated_elsewhere(worker: WorkerConfig) -> Iterator[BindingRow]:
    """Rows of what wrangler simulates and dohost only names."""
    for item in worker.unsupported:
        yield BindingRow(binding=_named(item.binding, None), resource=item.kind, mode=NOT_SUPPORTED)


def _variable_row(worker: WorkerConfig, name: str, value: Json) -> BindingRow:
    shown = f'"{HIDDEN}"' if name in worker.secret_names else _shortened(value)
    return BindingRow(binding=_named(name, shown), resource="Environment Variable")


def _shortened(value: Json) -> str:
    if isinstance(value, str) and len(value) > VALUE_CHARACTERS_MAX:
        value = value[:VALUE_CHARACTERS_MAX] + "..."
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_CHARACTERS_MAX + 5 else text[:VALUE_CHARACTERS_MAX] + "..."
