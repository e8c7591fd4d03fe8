"""The API gateway, and the base class of the services behind it. Ordinary Worker code.

from dohost.gateway import Gateway, Service, ServiceError, entrypoint, expose, resolves
"""

from __future__ import annotations

from dohost.gateway.caller import Caller
from dohost.gateway.check import check
from dohost.gateway.entry import entrypoint
from dohost.gateway.expose import expose, resolves
from dohost.gateway.gateway import Gateway
from dohost.gateway.service import Service
from dohost.gateway.service_error import ServiceError

__all__ = [
    "Caller",
    "Gateway",
    "Service",
    "ServiceError",
    "check",
    "entrypoint",
    "expose",
    "resolves",
]
