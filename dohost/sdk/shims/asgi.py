"""The module `asgi` as older Worker code imports it: `workers.asgi`."""

from __future__ import annotations

from workers.asgi import entrypoint, env, fetch, websocket

__all__ = ["entrypoint", "env", "fetch", "websocket"]
