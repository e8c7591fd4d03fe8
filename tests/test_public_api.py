"""The public names. A name that goes, or comes, is a decision and is made here as well."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util

import pytest

WORKERS = {
    "Blob",
    "BlobEnding",
    "BlobValue",
    "Body",
    "Context",
    "DurableObject",
    "FetchKwargs",
    "FetchResponse",
    "File",
    "FormData",
    "FormDataValue",
    "Headers",
    "JSBody",
    "ReadableStream",
    "Request",
    "RequestInitCfProperties",
    "Response",
    "RpcTarget",
    "TransformStream",
    "WebSocket",
    "WebSocketPair",
    "WorkerEntrypoint",
    "WorkflowEntrypoint",
    "env",
    "fetch",
    "handler",
    "import_from_javascript",
    "patch_env",
    "python_from_rpc",
    "python_to_rpc",
    "waitUntil",
    "wait_until",
}
GATEWAY = {
    "Caller",
    "Gateway",
    "Service",
    "ServiceError",
    "check",
    "entrypoint",
    "expose",
    "resolves",
}
DURABLE_OBJECT_NAMESPACE = {"get", "getByName", "idFromName", "idFromString", "newUniqueId"}
STORAGE = {
    "delete",
    "deleteAlarm",
    "deleteAll",
    "get",
    "getAlarm",
    "kv",
    "list",
    "put",
    "setAlarm",
    "sync",
    "transaction",
    "transactionSync",
}
STATE = {"abort", "blockConcurrencyWhile", "id", "storage", "waitUntil"}


@pytest.mark.parametrize(("package", "names"), [("workers", WORKERS), ("dohost.gateway", GATEWAY)])
def test_a_package_exports_just_its_public_names(package: str, names: set[str]) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == names
    assert (
        list(module.__all__) == sorted(module.__all__, key=str.swapcase)
        or set(module.__all__) == names
    )


@pytest.mark.parametrize("package", ["workers", "dohost.gateway", "dohost.testing"])
def test_every_exported_name_is_there(package: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not part of this version")
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize(
    ("module", "name", "members"),
    [
        ("dohost.objects.namespace", "DurableObjectNamespace", DURABLE_OBJECT_NAMESPACE),
        ("dohost.objects.state", "DurableObjectState", STATE),
        ("dohost.storage.storage", "DurableObjectStorage", STORAGE),
    ],
)
def test_what_user_code_holds_has_cloudflares_members(
    module: str, name: str, members: set[str]
) -> None:
    held = getattr(importlib.import_module(module), name)
    assert members <= {*dir(held), *getattr(held, "__annotations__", {})}


def test_the_version_is_said_once() -> None:
    dohost = importlib.import_module("dohost")
    assert dohost.__version__ == importlib.metadata.version("dohost")
