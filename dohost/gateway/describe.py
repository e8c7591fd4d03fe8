"""What a service class offers, as data: the gateway asks once and keeps the answer by its hash."""

from __future__ import annotations

import hashlib
import inspect
import json

import msgspec

from dohost.gateway.registry import ExposedMethod, Registry


class MethodDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One exposed method; `params` and `returns` are JSON Schemas, `definitions` what they refer to."""

    name: str
    verb: str | None
    path: str | None
    status: int
    is_safe: bool
    is_aggregatable: bool
    is_stream: bool
    cache_ttl_s: float | None
    tags: list[str]
    summary: str
    params: dict[str, object]
    returns: dict[str, object]


class ServiceDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A service class as the gateway knows it."""

    class_name: str
    hash: str
    sdl: str
    methods: list[MethodDescription]


def describe(class_name: str, registry: Registry, *, schema: str) -> dict[str, object]:
    """Return the description as plain data that RPC can carry."""
    methods = [_describe_method(each) for each in registry.methods.values()]
    content = json.dumps([class_name, schema, msgspec.to_builtins(methods)], sort_keys=True)
    description = ServiceDescription(
        class_name=class_name,
        hash=hashlib.sha256(content.encode()).hexdigest(),
        sdl=inspect.cleandoc(schema),
        methods=methods,
    )
    plain: dict[str, object] = msgspec.to_builtins(description)
    return plain


def _describe_method(method: ExposedMethod) -> MethodDescription:
    signature, exposure = method.signature, method.exposure
    properties: dict[str, object] = {
        each.name: _schema(each.hint, is_input=True) for each in signature.parameters
    }
    return MethodDescription(
        name=method.name,
        verb=exposure.verb,
        path=exposure.path,
        status=exposure.status,
        is_safe=exposure.is_safe,
        is_aggregatable=exposure.is_aggregatable and not method.is_stream,
        is_stream=method.is_stream,
        cache_ttl_s=exposure.cache_ttl_s,
        tags=list(exposure.tags),
        summary=inspect.getdoc(method.function) or "",
        params={
            "type": "object",
            "properties": properties,
            "required": [each.name for each in signature.parameters if each.is_required],
        },
        returns=_schema(signature.returns, is_input=False),
    )


def _schema(hint: object, *, is_input: bool) -> dict[str, object]:
    if hint is object:
        return {}
    try:
        return msgspec.json.schema(hint)
    except TypeError:
        if is_input:
            raise
        # A result may be of any type that encodes; without a schema it is described as anything.
        return {}
