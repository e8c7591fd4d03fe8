"""The names of `workers.entrypoints`, as Cloudflare's package spells the module."""

from __future__ import annotations

from workers.context import ExecutionContext as DurableObjectContext
from workers.entrypoint import (
    DurableObject,
    DurableObjectAbort,
    WorkerEntrypoint,
    WorkflowEntrypoint,
)

__all__ = [
    "DurableObject",
    "DurableObjectAbort",
    "DurableObjectContext",
    "WorkerEntrypoint",
    "WorkflowEntrypoint",
]
