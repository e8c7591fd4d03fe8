"""The GraphQL-over-HTTP specification's rules: what a request may look like, and what its answer does.

Everything here is about the envelope; nothing is executed. A request that can't be read as a GraphQL request
is answered with a GraphQL body (`errors`), since that is what its sender parses; refusals that any HTTP
client understands (405, 406, 413, 415) are problems like the gateway's others.

Status codes: what can't be read is 400 in either media type. A document that is understood to be wrong is
400 as `application/graphql-response+json`, and 200 as plain `application/json`, where clients of old take
any other status for a failure of something between.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from dohost.federation.contract import ExecutionResult, GraphQLRequest
from dohost.gateway.bodies import read_json
from dohost.gateway.config_tables import LimitsConfig
from dohost.gateway.exchange import Exchange
from dohost.gateway.forward import Answer
from dohost.gateway.problems import Problem, problem

RESPONSE_TYPE = "application/graphql-response+json"
JSON_TYPE = "application/json"
HTML_TYPE = "text/html"
PARAMETERS = ("query", "operationName", "variables", "extensions")
_MAPS = ("variables", "extensions")
_BAD_REQUEST = 400
_encode = msgspec.json.encode


async def read_request(exchange: Exchange, limits: LimitsConfig) -> GraphQLRequest | Problem:
    """Return the request in a POST's body or a GET's query, or what is wrong with it."""
    if exchange.method == "POST":
        refused = _check_content_type(exchange.headers.get("content-type", ""))
        body = refused or await read_json(exchange.request, limits)
    else:
        body = _from_query(exchange.query_text)
    return body if isinstance(body, Problem) else parse_request(body)


def _check_content_type(text: str) -> Problem | None:
    """Return the 415 for anything but JSON in UTF-8, which JSON is if no charset is named."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    if name != JSON_TYPE:
        return problem("unsupported-media-type", f"Send the body as {JSON_TYPE}.")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            return problem("unsupported-media-type", "Send the body in UTF-8.")
    return None


def _from_query(text: str) -> object | Problem:
    body: dict[str, object] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        return problem("bad-request", "The query string is not UTF-8, or has over 100 fields.")
    for key, value in pairs:
        if key not in PARAMETERS:
            continue
        if key in body:
            return problem("bad-request", f"`{key}` is given twice.")
        body[key] = value
        if key in _MAPS or key == "operationName":
            body[key] = value or None
        if key in _MAPS and value:
            try:
                body[key] = msgspec.json.decode(value.encode())
            except (ValueError, RecursionError):
                return problem("bad-request", f"`{key}` is not JSON.")
    return body


def parse_request(body: object) -> GraphQLRequest | Problem:
    """Return the request that decoded parameters describe, or the 400 for what is wrong in them."""
    if not isinstance(body, Mapping):
        return problem("bad-request", "A GraphQL request is a JSON object with a `query`.")
    query, name = body.get("query"), body.get("operationName")
    if not isinstance(query, str):
        return problem("bad-request", "`query` must be a string.")
    if name is not None and not isinstance(name, str):
        return problem("bad-request", "`operationName` must be a string.")
    maps = {key: body.get(key) for key in _MAPS}
    for key, value in maps.items():
        if value is not None and not isinstance(value, Mapping):
            return problem("bad-request", f"`{key}` must be an object.")
    return GraphQLRequest(
        query=query,
        operation_name=name,
        variables=maps["variables"],
        extensions=maps["extensions"],
    )


def answer_result(result: ExecutionResult, media_type: str) -> Answer:
    """Return an execution's answer in the negotiated media type."""
    is_refused = result.is_request_error and media_type == RESPONSE_TYPE
    return _answer(result.body, media_type, status=_BAD_REQUEST if is_refused else 200)


def answer_unreadable(told: Problem, media_type: str) -> Answer | Problem:
    """Return the answer to a request that can't be read; only a 400 has a GraphQL body."""
    if told.status != _BAD_REQUEST:
        return told
    error = {"message": told.detail, "extensions": {"code": "BAD_REQUEST"}}
    return _answer({"errors": [error]}, media_type, status=_BAD_REQUEST)


def _answer(body: Mapping[str, object], media_type: str, *, status: int) -> Answer:
    headers = (("content-type", f"{media_type}; charset=utf-8"), ("vary", "Accept"))
    return Answer(status=status, headers=headers, body=_encode(body))
