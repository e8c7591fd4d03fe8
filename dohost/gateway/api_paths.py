"""`POST /api/aggregate` and `/graphql`: what they cost, and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import msgspec
from workers import ReadableStream

from dohost.gateway.accept import names
from dohost.gateway.aggregate import AggregateRequest, CallResult, parse_aggregate
from dohost.gateway.aggregate_answer import ENVELOPE_TYPE, answer_aggregate, error_of
from dohost.gateway.bodies import read_json
from dohost.gateway.exchange import Exchange
from dohost.gateway.forward import Answer
from dohost.gateway.parts import Parts
from dohost.gateway.problems import Problem
from dohost.gateway.replies import encode_result
from dohost.gateway.streaming import EVENT_STREAM, NDJSON


async def aggregate(
    parts: Parts, exchange: Exchange, parameters: Mapping[str, str]
) -> Answer | Problem:
    """Run the calls of the body in parallel; one charge up front for all of them."""
    body = await read_json(exchange.request, parts.config.limits)
    if isinstance(body, Problem):
        return body
    request = parse_aggregate(body, parts.config.aggregate)
    if isinstance(request, Problem):
        return request
    cost = parts.limits.call_cost(len(request.calls))
    charged = parts.limits.charge(exchange.identity, parts.clock.realtime_ns(), cost=cost)
    if isinstance(charged, Problem):
        return charged
    accept = exchange.headers.get("accept", "")
    for media_type in (NDJSON, EVENT_STREAM):
        if names(accept, media_type):
            return _streamed(parts, exchange, request, media_type=media_type)
    results = await parts.aggregates.run(request, exchange.identity)
    is_envelope = names(accept, ENVELOPE_TYPE) or exchange.query().get("shape") == "envelope"
    answer = answer_aggregate(request, results, is_envelope=is_envelope)
    return Answer(status=answer.status, headers=(*answer.headers, *charged), body=answer.body)


async def graphql(
    parts: Parts, exchange: Exchange, parameters: Mapping[str, str]
) -> Answer | Problem:
    """Execute one GraphQL request; it costs as much as the subgraph calls that it takes."""

    def charge() -> Problem | None:
        if parts.limits.call_cost(2) == 1:
            return None
        charged = parts.limits.charge(exchange.identity, parts.clock.realtime_ns(), cost=1)
        return charged if isinstance(charged, Problem) else None

    charged = parts.limits.charge(exchange.identity, parts.clock.realtime_ns(), cost=1)
    if isinstance(charged, Problem):
        return charged
    answer = await parts.graphql.answer(exchange, charge=charge)
    if isinstance(answer, Problem):
        return answer
    return msgspec.structs.replace(answer, headers=(*answer.headers, *charged))


def _streamed(
    parts: Parts, exchange: Exchange, request: AggregateRequest, *, media_type: str
) -> Answer:
    """Send each result as its call ends, and a last line that says whether all worked."""
    chunks = _lines(parts, exchange, request, media_type=media_type)
    headers = (
        ("content-type", media_type),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
    )
    return Answer(status=200, headers=headers, body=ReadableStream.from_async_iterable(chunks))


async def _lines(
    parts: Parts, exchange: Exchange, request: AggregateRequest, *, media_type: str
) -> AsyncIterator[bytes]:
    before, after = (b"data: ", b"\n\n") if media_type == EVENT_STREAM else (b"", b"\n")
    ended: asyncio.Queue[CallResult | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await parts.aggregates.run(request, exchange.identity, finished=ended.put)
        finally:
            await ended.put(None)

    is_complete = True
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run())
        try:
            while (result := await ended.get()) is not None:
                is_complete = is_complete and (result.problem is None or result.call.is_optional)
                yield before + _line(result) + after
        except GeneratorExit:
            # The client is gone: what still runs is cancelled with the group.
            running.cancel()
            raise
    yield before + encode_result({"done": True, "complete": is_complete}) + after


def _line(result: CallResult) -> bytes:
    line: dict[str, object] = {"name": result.call.name, "ok": result.problem is None}
    if result.problem is None:
        line["value"] = msgspec.Raw(result.value or b"null")
    else:
        line["error"] = error_of(result)
    return encode_result({**line, "ms": round(result.took_ms, 3)})
