"""What would stop a gateway from working, found before it serves: configuration and composition."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from dohost.federation.contract import Subgraph
from dohost.gateway.arguments import Signature
from dohost.gateway.service import Service
from dohost.gateway.settings import settings_problems


def check(env: object, services: Iterable[type[Service]] = ()) -> list[str]:
    """Return every problem, one line each; empty means that the gateway can serve.

    `env` is checked as the gateway will read it; the services' signatures must resolve and their
    schemas must compose with one another.
    """
    listed = list(services)
    problems = settings_problems(env)
    for service in listed:
        problems += _signature_problems(service)
    return problems + _composition_problems(listed)


def _signature_problems(service: type[Service]) -> list[str]:
    problems = []
    for method in service.gateway_registry.methods.values():
        try:
            Signature(method.function)
        except TypeError as error:
            problems.append(str(error))
    return problems


def _composition_problems(services: list[type[Service]]) -> list[str]:
    subgraphs = [
        Subgraph(name=each.__name__, sdl=inspect.cleandoc(each.schema), lenient=True)
        for each in services
        if each.schema
    ]
    if not subgraphs:
        return []
    # Loading graphql-core takes a tenth of a second that gateways without schemas never need.
    from dohost.federation.engine import Engine

    composed = Engine.compose(subgraphs)
    if not isinstance(composed, list):
        return []
    return [f"{each.code}: {each.message} {' '.join(each.nodes)}".rstrip() for each in composed]
