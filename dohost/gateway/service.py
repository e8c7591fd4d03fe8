"""The base class of services: a Durable Object whose exposed methods are an API.

A service is reached in three ways, all through its registry and none by attribute access: `fetch`
(REST under a route's prefix), `gateway_call` (aggregate and other services) and `gateway_graphql`
(its schema fragment). `gateway_describe` tells the gateway what there is. These three RPC methods are
reserved: the gateway refuses their names from outside, and they carry plain data only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import isawaitable
from typing import ClassVar

from workers import DurableObject, Request, Response

from dohost.clock import Clock, SystemClock
from dohost.gateway.caller import (
    CONTEXT_HEADER,
    Caller,
    caller_from_header,
    caller_from_plain,
    current_caller,
)
from dohost.gateway.calls import Services
from dohost.gateway.config import GatewayConfig
from dohost.gateway.describe import describe
from dohost.gateway.direct_calls import DirectCalls
from dohost.gateway.graphql_service import run_operation
from dohost.gateway.registry import Registry, build_registry
from dohost.gateway.replies import ok_reply, problem_reply
from dohost.gateway.rest import serve_rest
from dohost.gateway.service_error import ServiceError, unknown_method
from dohost.gateway.settings import settings_of
from dohost.gateway.state import ObjectState


class Service(DurableObject):
    """A service behind the gateway; subclass it and mark methods with `@expose` and `@resolves`.

    `schema` is the GraphQL fragment that the class resolves. `clock` is where a service reads the
    time, so that a test can replace it. `setup` runs once per object before its first call.
    """

    ctx: ObjectState
    schema: ClassVar[str] = ""
    clock: ClassVar[Clock] = SystemClock()
    gateway_registry: ClassVar[Registry] = Registry({}, {})
    _is_set_up = False
    _config: GatewayConfig | None = None

    def __init_subclass__(cls, **keywords: object) -> None:
        super().__init_subclass__(**keywords)
        cls.gateway_registry = build_registry(cls, Service)

    def setup(self) -> None:
        """Prepare the object's storage; override it to create tables. Runs before the first call."""

    @property
    def caller(self) -> Caller:
        """Who calls: tenant, subject, scopes, request id and deadline of the current call."""
        return current_caller.get()

    @property
    def services(self) -> Services:
        """Handles on the other services, called directly with this call's deadline and trace."""
        if self._config is None:
            self._config = settings_of(self.env).config
        runner = DirectCalls(self.env, self._config, caller=self.caller, clock=self.clock)
        return Services(runner, self._config.services)

    async def fetch(self, request: Request) -> Response:
        """Serve the exposed methods as REST; override it to take requests as they come."""
        caller = caller_from_header(request.headers.get(CONTEXT_HEADER))
        token = current_caller.set(caller)
        try:
            self._prepare()
            return await serve_rest(self, self.gateway_registry, request, caller=caller)
        finally:
            current_caller.reset(token)

    async def gateway_call(
        self, method: str, args: Sequence[object] | Mapping[str, object], context: object
    ) -> dict[str, object]:
        """Call one exposed method; reply with the result as JSON bytes or with a problem.

        Raises: whatever the method raises but `ServiceError`; only that is a failure.
        """
        exposed = self.gateway_registry.methods.get(method)
        token = current_caller.set(caller_from_plain(context))
        try:
            if exposed is None or exposed.is_stream:
                raise unknown_method(type(self).__name__)
            arguments = exposed.signature.bind(args)
            self._prepare()
            result = exposed.function(self, **arguments)
            if isawaitable(result):
                result = await result
        except ServiceError as error:
            return problem_reply(error.problem)
        finally:
            current_caller.reset(token)
        return ok_reply(exposed.exposure, arguments, result)

    async def gateway_graphql(
        self, text: str, variables: dict[str, object], representations: object, context: object
    ) -> dict[str, object]:
        """Run one subgraph operation on the class's schema; `text` is a key into its compiled ones."""
        token = current_caller.set(caller_from_plain(context))
        try:
            self._prepare()
            return await run_operation(
                self, text, variables=variables, representations=representations
            )
        except ServiceError as error:
            return problem_reply(error.problem)
        finally:
            current_caller.reset(token)

    def gateway_describe(self) -> dict[str, object]:
        """Return the class's schema and exposed methods with their types; the same for each object."""
        return describe(type(self).__name__, self.gateway_registry, schema=self.schema)

    def _prepare(self) -> None:
        if not self._is_set_up:
            self.setup()
            self._is_set_up = True
