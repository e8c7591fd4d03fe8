"""Configuration: wrangler's files in, frozen values out.

`load` is the only function; `model` says what comes out. Nothing but this package reads the
environment (`dohost.config.secret_files`).
"""

from __future__ import annotations

from dohost.config.load import load
from dohost.config.model import (
    AssetsConfig,
    ClassRename,
    D1Binding,
    DevConfig,
    DurableObjectBinding,
    Json,
    KvBinding,
    Loaded,
    Migration,
    Overrides,
    QueueConsumer,
    QueueProducer,
    R2Binding,
    RateLimitBinding,
    ServiceBinding,
    StorageFlavour,
    UnsupportedBinding,
    WorkerConfig,
)

__all__ = [
    "AssetsConfig",
    "ClassRename",
    "D1Binding",
    "DevConfig",
    "DurableObjectBinding",
    "Json",
    "KvBinding",
    "Loaded",
    "Migration",
    "Overrides",
    "QueueConsumer",
    "QueueProducer",
    "R2Binding",
    "RateLimitBinding",
    "ServiceBinding",
    "StorageFlavour",
    "UnsupportedBinding",
    "WorkerConfig",
    "load",
]
