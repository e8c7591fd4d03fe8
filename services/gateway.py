"""The gateway object: one per tenant. Override `on_request` or `on_response` to add a stage."""

from __future__ import annotations

from dohost.gateway import Gateway


class GatewayDO(Gateway):
    """Routes, limits, caches and federates the services that `wrangler.toml` configures."""
