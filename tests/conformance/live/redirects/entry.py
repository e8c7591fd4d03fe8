"""Sends each request that is asked for, and tells how it ended; worker.js says the same in JavaScript."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from workers import DurableObject, Request, Response, WorkerEntrypoint


async def answer(request: Request) -> Response:
    url = urlsplit(request.url)
    query = parse_qs(url.query, keep_blank_values=True)
    body = await request.text()
    place = re.fullmatch(r"/(\d+)/(\d+)", url.path)
    if place is not None:
        status, left = int(place[1]), int(place[2])
        further = f"/{status}/{left - 1}" if left > 1 else "/end"
        headers = {} if "none" in query else {"location": query.get("to", [further])[0]}
        return Response("moved", status=status, headers=headers)
    fields = [request.headers.get(name) for name in ("authorization", "content-type", "cookie")]
    told = [str(request.method), request.url, body, request.redirect, fields]
    return Response(json.dumps(told, separators=(",", ":")))


class Target(DurableObject):
    async def fetch(self, request: Request) -> Response:
        return await answer(request)


class Named(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        return await answer(request)


async def asked(env: Any, target: str, path: str, options: dict[str, Any]) -> list[object]:
    to = env.OBJECT.getByName("a") if target == "object" else env.SERVICE
    stream, whole = options.pop("stream", False), options.pop("whole", False)
    if stream:
        options["body"] = Response("hello").body
    url = f"http://host{path}"
    try:
        if whole:
            response = await to.fetch(Request(url, **options))
        else:
            response = await to.fetch(url, **options)
        place = response.url if response.redirected else ""
        told = "" if options.get("method") == "HEAD" else await response.text()
        return [response.status, response.redirected, place, told]
    except Exception as error:
        return [str(error).removeprefix("TypeError: ")]


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        return Response.json([await asked(self.env, *each) for each in await request.json()])
