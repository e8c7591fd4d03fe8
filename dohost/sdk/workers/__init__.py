"""Cloudflare's Python API for Workers and Durable Objects, on ordinary CPython.

The names and their behaviour are those of Cloudflare's `workers` package, so that the same source
runs there. `WebSocketPair`, `RpcTarget` and `ReadableStream` come from `js` on Cloudflare; the host gives a
`js` module to worker code as well.
"""

from __future__ import annotations

from types import SimpleNamespace

from workers.blob import Blob, BlobEnding, BlobValue, File
from workers.entrypoint import DurableObject, WorkerEntrypoint, WorkflowEntrypoint, handler
from workers.environment import env, patch_env, wait_until, waitUntil
from workers.fetch import fetch
from workers.fetchtypes import Body, Context, FetchKwargs, JSBody, RequestInitCfProperties
from workers.formdata import FormData, FormDataValue
from workers.headers import Headers
from workers.request import Request
from workers.response import FetchResponse, Response
from workers.rpc import RpcTarget, python_from_rpc, python_to_rpc
from workers.streams import ReadableStream
from workers.websocket import WebSocket, WebSocketPair
from workers.writable import TransformStream

__all__ = [
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
]


def import_from_javascript(name: str) -> SimpleNamespace:
    """Return what JavaScript's `import` of a built-in module gives; "cloudflare:workers" is here.

    Raises: ImportError for every other name: there is no JavaScript here.
    """
    if name != "cloudflare:workers":
        raise ImportError(f"{name!r} is a JavaScript module, and this host runs Python only")
    return SimpleNamespace(
        DurableObject=DurableObject,
        RpcTarget=RpcTarget,
        WorkerEntrypoint=WorkerEntrypoint,
        WorkflowEntrypoint=WorkflowEntrypoint,
        env=env,
        waitUntil=waitUntil,
    )
