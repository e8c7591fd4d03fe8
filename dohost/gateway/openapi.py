"""`/openapi.json`: OpenAPI 3.1, generated from routes, exposed methods, their types and docstrings."""

from __future__ import annotations

from collections.abc import Mapping

from dohost.gateway.answers import json_answer
from dohost.gateway.config_tables import RouteConfig
from dohost.gateway.describe import MethodDescription
from dohost.gateway.exchange import Exchange
from dohost.gateway.forward import Answer
from dohost.gateway.parts import Parts
from dohost.gateway.problems import Problem

PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
PROBLEM_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "requestId": {"type": "string"},
    },
}
BODY_VERBS = frozenset({"POST", "PUT", "PATCH"})
WRITE_VERBS = BODY_VERBS | {"DELETE"}
NOTHING = {"type": "null"}
NO_RESULT: dict[str, object] = {"description": "It is done; there is no result."}
NOTHING_THERE: dict[str, object] = {"description": "Nothing is there.", "content": PROBLEM_CONTENT}
# What the gateway takes as a segment of a path: no slashes, no control characters, no dots alone.
PATH_SEGMENT = r"^(?!\.{1,2}(;|$))[^/\\\u0000-\u001f\u007f-\u009f]+$"


async def document(
    parts: Parts, exchange: Exchange, parameters: Mapping[str, str]
) -> Answer | Problem:
    """Describe every route whose service is a Durable Object with exposed methods."""
    return json_answer(await describe_api(parts))


async def describe_api(parts: Parts) -> dict[str, object]:
    """Return the OpenAPI document."""
    await parts.calls.learn(route.service for route in parts.config.routes)
    paths: dict[str, dict[str, object]] = {}
    definitions: dict[str, object] = {"Problem": PROBLEM_SCHEMA}
    for route in parts.config.routes:
        service = parts.config.services.get(route.service)
        if service is None or service.binding is None:
            continue
        offer = await parts.calls.offer(route.service)
        if isinstance(offer, Problem):
            continue
        for method in offer.methods.values():
            if method.verb is None or method.path is None:
                continue
            path = public_path(route, method.path)
            operation = _operation(route, method, path, definitions)
            paths.setdefault(path, {})[method.verb.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "API gateway", "version": parts.config.versions.default or "1"},
        "paths": paths,
        "components": {"schemas": definitions},
    }


def public_path(route: RouteConfig, path: str) -> str:
    """Return a method's path as a client writes it, under the route's pattern."""
    pattern = route.pattern.rpartition(" ")[2]
    prefix = pattern.removesuffix("*").removesuffix("/")
    return (prefix + path).rstrip("/") or "/"


def _operation(
    route: RouteConfig, method: MethodDescription, path: str, definitions: dict[str, object]
) -> dict[str, object]:
    parameters: list[dict[str, object]] = []
    members: dict[str, object] = {}
    for name, schema in _properties(method).items():
        hoisted = hoist(schema, definitions)
        in_path = "{" + name + "}" in path
        if in_path or method.verb not in BODY_VERBS:
            where = "path" if in_path else "query"
            required = in_path or name in _required(method)
            if in_path and isinstance(hoisted, dict) and hoisted.get("type") == "string":
                hoisted = {"pattern": PATH_SEGMENT, **hoisted}
            parameters.append({"name": name, "in": where, "required": required, "schema": hoisted})
        else:
            members[name] = hoisted
    operation: dict[str, object] = {
        "operationId": f"{route.service}_{method.name}",
        "tags": [route.service],
        "summary": method.summary.partition("\n")[0],
        "parameters": parameters,
        "responses": _responses(method, hoist(method.returns, definitions)),
    }
    objects = [name for name in members if _is_object(members[name], definitions)]
    if len(objects) == 1:
        # A single object is the body itself; the rest is in the query then.
        body = members.pop(objects[0])
        operation["requestBody"] = _body(body, is_required=objects[0] in _required(method))
        parameters += [
            {"name": name, "in": "query", "required": name in _required(method), "schema": schema}
            for name, schema in members.items()
        ]
    elif members:
        is_required = not members.keys().isdisjoint(_required(method))
        operation["requestBody"] = _body(_object(members, method), is_required=is_required)
    return operation


def _body(schema: object, *, is_required: bool) -> dict[str, object]:
    return {"content": {"application/json": {"schema": schema}}, "required": is_required}


def _is_object(schema: object, definitions: dict[str, object]) -> bool:
    if not isinstance(schema, dict):
        return False
    reference = str(schema.get("$ref", ""))
    found = definitions.get(reference.removeprefix("#/components/schemas/"), schema)
    return isinstance(found, dict) and found.get("type") == "object"


def _responses(method: MethodDescription, schema: object) -> dict[str, object]:
    """Return the answers of a method; a read without a result finds nothing, a write is done."""
    kinds = schema.get("anyOf", [schema]) if isinstance(schema, dict) else [schema]
    results = [kind for kind in kinds if kind != NOTHING]
    responses: dict[str, object] = {}
    if results:
        told = results[0] if len(results) == 1 else {"anyOf": results}
        content = {"application/json": {"schema": told}}
        responses[str(method.status)] = {"description": "The result.", "content": content}
    if len(results) < len(kinds):
        is_read = method.verb not in WRITE_VERBS
        responses["404" if is_read else "204"] = NOTHING_THERE if is_read else NO_RESULT
    return {**responses, "default": {"description": "A problem.", "content": PROBLEM_CONTENT}}


def hoist(schema: object, definitions: dict[str, object]) -> object:
    """Move a schema's own `$defs` into the document's components, and its references with them."""
    if isinstance(schema, list):
        return [hoist(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    for name, definition in schema.get("$defs", {}).items():
        if name not in definitions:
            # Set before descending: a type may refer to itself.
            definitions[name] = {}
            definitions[name] = hoist(definition, definitions)
    moved = {key: hoist(value, definitions) for key, value in schema.items() if key != "$defs"}
    if isinstance(reference := moved.get("$ref"), str):
        moved["$ref"] = reference.replace("#/$defs/", "#/components/schemas/")
    return moved


def _properties(method: MethodDescription) -> dict[str, object]:
    properties = method.params["properties"]
    return properties if isinstance(properties, dict) else {}


def _required(method: MethodDescription) -> list[str]:
    required = method.params["required"]
    return required if isinstance(required, list) else []


def _object(members: dict[str, object], method: MethodDescription) -> dict[str, object]:
    required = [name for name in _required(method) if name in members]
    return {
        "type": "object",
        "properties": members,
        "required": required,
        "additionalProperties": False,
    }
