"""Every error answer of the gateway: one table of problem types (RFC 9457), one shape of body.

A `Problem` is a value; pipelines return it and turn it into a response at the edge. Its `type` is
`/problems/<slug>`, where the gateway serves a page about it, except where IANA has registered a type.
Details never carry what a client must not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec
from msgspec import Struct
from workers import Response

IANA = "https://iana.org/assignments/http-problem-types#"
Header = tuple[str, str]


class ProblemType(Struct, frozen=True, kw_only=True):
    """A row of the table."""

    slug: str
    status: int
    title: str
    detail: str
    iana: bool = False

    @property
    def uri(self) -> str:
        """The `type` member."""
        return f"{IANA}{self.slug}" if self.iana else f"/problems/{self.slug}"


# slug, status, title, default detail
ROWS = (
    ("bad-request", 400, "Bad request", "The request can't be understood."),
    ("bad-path", 400, "Bad path", "The path has a form that is refused."),
    ("malformed-json", 400, "Malformed JSON", "The body is not valid JSON."),
    ("invalid-arguments", 400, "Invalid arguments", "The arguments don't fit the method."),
    ("duplicate-result-name", 400, "Duplicate result name", "Two calls have the same result name."),
    ("version-conflict", 400, "Conflicting versions", "The request names two API versions."),
    ("credential-conflict", 400, "Conflicting credentials", "Send one credential only."),
    ("untrusted-header", 400, "Untrusted header", "Tenant headers are not accepted from here."),
    ("unauthenticated", 401, "Authentication required", "Send a credential."),
    ("invalid-token", 401, "Invalid token", "The credential is not valid."),
    ("forbidden", 403, "Forbidden", "The credential doesn't allow this."),
    ("insufficient-scope", 403, "Insufficient scope", "The credential lacks a scope."),
    ("tenant-mismatch", 403, "Tenant mismatch", "The credential belongs to another tenant."),
    ("tenant-disabled", 403, "Tenant disabled", "The tenant is disabled."),
    ("admin-disabled", 403, "Administration disabled", "No admin token is configured."),
    ("not-found", 404, "Not found", "No route has this path."),
    ("unknown-service", 404, "Unknown service", "There is no such service."),
    ("unknown-method", 404, "Unknown method", "The service has no such method."),
    ("unknown-version", 404, "Unknown API version", "There is no such API version."),
    ("method-not-allowed", 405, "Method not allowed", "The path is served for other methods."),
    ("unsupported-version", 406, "Unsupported API version", "There is no such API version."),
    ("not-acceptable", 406, "Not acceptable", "No form that the client accepts is available."),
    ("conflict", 409, "Conflict", "The state of the resource forbids this."),
    ("version-gone", 410, "API version gone", "This API version is past its sunset."),
    ("body-too-large", 413, "Body too large", "The body is larger than the limit."),
    ("cost-exceeds-burst", 413, "Cost exceeds burst", "The request costs more than the burst."),
    ("uri-too-long", 414, "URI too long", "The URL is longer than the limit."),
    ("unsupported-media-type", 415, "Unsupported media type", "The body's type isn't served."),
    ("dependency-failed", 424, "Dependency failed", "A call that this one needs failed."),
    ("headers-too-large", 431, "Header fields too large", "The headers exceed the limit."),
    ("internal-error", 500, "Internal error", "The request failed; its id is in the logs."),
    ("service-error", 500, "Service error", "The service refused the request."),
    ("upstream-failed", 502, "Upstream failed", "The service failed."),
    ("circuit-open", 503, "Circuit open", "The service fails and is given time to recover."),
    ("overloaded", 503, "Overloaded", "Too many requests are in progress."),
    ("draining", 503, "Draining", "The gateway is stopping."),
    ("gateway-timeout", 504, "Gateway timeout", "The service did not answer in time."),
    ("not-cached", 504, "Not cached", "only-if-cached was asked, and nothing is cached."),
)
REGISTERED = (
    ("quota-exceeded", 429, "Rate limit exceeded", "The rate limit is used up."),
    ("temporary-reduced-capacity", 503, "Reduced capacity", "Capacity is reduced for a while."),
    ("abnormal-usage-detected", 429, "Abnormal usage", "The pattern of use is not allowed."),
)
PROBLEM_TYPES: Mapping[str, ProblemType] = {
    slug: ProblemType(slug=slug, status=status, title=title, detail=detail, iana=iana)
    for rows, iana in ((ROWS, False), (REGISTERED, True))
    for slug, status, title, detail in rows
}


class Problem(Struct, frozen=True, kw_only=True):
    """One error answer: its type, what happened this time, extra members and headers."""

    type: ProblemType
    detail: str
    status: int
    members: Mapping[str, object] = {}
    headers: tuple[Header, ...] = ()

    def as_dict(
        self, *, instance: str | None = None, request_id: str | None = None
    ) -> dict[str, object]:
        """Return the members of the problem+json object; extra ones can't replace the standard."""
        standard: dict[str, object] = {
            "type": self.type.uri,
            "title": self.type.title,
            "status": self.status,
            "detail": self.detail,
        }
        if instance is not None:
            standard["instance"] = instance
        if request_id is not None:
            standard["requestId"] = request_id
        return standard | {k: v for k, v in self.members.items() if k not in standard}

    def to_response(
        self, *, instance: str | None = None, request_id: str | None = None
    ) -> Response:
        """Return the `application/problem+json` answer."""
        headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
        for name, value in self.headers:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        members = self.as_dict(instance=instance, request_id=request_id)
        try:
            body = msgspec.json.encode(members)
        except UnicodeEncodeError:
            # A detail quotes a client's lone surrogate, which only an escape can carry.
            body = json.dumps(members).encode()
        return Response(body, status=self.status, headers=headers)


def problem(
    slug: str,
    detail: str | None = None,
    *,
    status: int | None = None,
    headers: tuple[Header, ...] = (),
    **members: object,
) -> Problem:
    """Return the problem `slug`; `members` become extra members of the body."""
    kind = PROBLEM_TYPES[slug]
    return Problem(
        type=kind,
        detail=kind.detail if detail is None else detail,
        status=kind.status if status is None else status,
        members=members,
        headers=headers,
    )
