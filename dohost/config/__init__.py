"""Configuration: wrangler's files in, frozen values out.

`load` is the only function; `model` says what comes out. Nothing but this package reads the
environment (`dohost.config.secret_files`).
"""

from __future__ import annotations

from dohost.config.load import load
from dohost.config.model import (
    AnalyticsBinding,
    AssetsConfig,
    ClassRename,
    D1Binding,
    DevConfig,
    DurableObjectBinding,
    HtmlHandling,
    HyperdriveBinding,
    Json,
    KvBinding,
    Loaded,
    Migration,
    NotFoundHandling,
    Overrides,
    QueueConsumer,
    QueueProducer,
    R2Binding,
    RateLimitBinding,
    SecretsStoreBinding,
    ServiceBinding,
    StorageFlavour,
    UnsupportedBinding,
    WorkerConfig,
)

__all__ = [
    "AnalyticsBinding",
    "AssetsConfig",
    "ClassRename",
    "D1Binding",
    "DevConfig",
    "DurableObjectBinding",
    "HtmlHandling",
    "HyperdriveBinding",
    "Json",
    "KvBinding",
    "Loaded",
    "Migration",
    "NotFoundHandling",
    "Overrides",
    "QueueConsumer",
    "QueueProducer",
    "R2Binding",
    "RateLimitBinding",
    "SecretsStoreBinding",
    "ServiceBinding",
    "StorageFlavour",
    "UnsupportedBinding",
    "WorkerConfig",
    "load",
]
