"""A deliberate failure of a service, as opposed to a fault.

A service raises `ServiceError`; it crosses the object's boundary as data (`ServiceProblem`), because
an exception that crosses loses its class, and because only an escaping exception counts as a failure
for the circuit breaker.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dohost.errors import DohostError


class ServiceProblem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a failed call tells its caller.

    `pointer` is a JSON Pointer into the arguments; `parameter` names a path or query parameter.
    """

    status: int
    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None


class ServiceError(DohostError):
    """Fail on purpose: `status` is an HTTP status, `code` a short slug, `message` for people.

    Below 500 it is the caller's fault and never counts for the circuit breaker.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        pointer: str | None = None,
        parameter: str | None = None,
    ) -> None:
        super().__init__(message)
        self.problem = ServiceProblem(
            status=status, code=code, detail=message, pointer=pointer, parameter=parameter
        )
        self.code = code

    @property
    def status(self) -> int:
        """HTTP status of this failure."""
        return self.problem.status


def service_error(problem: Mapping[str, object]) -> ServiceError:
    """Return the error that a service's reply describes."""
    told = msgspec.convert(dict(problem), ServiceProblem)
    return ServiceError(
        told.status, told.code, told.detail, pointer=told.pointer, parameter=told.parameter
    )


UNKNOWN_METHOD = "unknown-method"


def unknown_method(service: str) -> ServiceError:
    """Return the one answer for methods that do not exist and methods that are not exposed."""
    return ServiceError(404, UNKNOWN_METHOD, f"{service} has no such method.")
