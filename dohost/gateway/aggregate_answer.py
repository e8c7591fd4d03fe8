"""From the results of an aggregate to its HTTP answer: status, shape and errors. Pure functions.

Results are JSON already and are put into the body unparsed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dohost.gateway.aggregate import AggregateRequest, CallResult
from dohost.gateway.problems import Problem
from dohost.gateway.replies import encode_result

COMPLETE_HEADER = "X-Gateway-Complete"
ENVELOPE_TYPE = "application/vnd.gateway.aggregate+json"
NOTHING_WORKED = 502
NULL = b"null"


class AggregateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An aggregate's status, headers and body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def answer_aggregate(
    request: AggregateRequest, results: Sequence[CallResult], *, is_envelope: bool
) -> AggregateAnswer:
    """Return the answer for results in request order."""
    failed = [each for each in results if each.problem is not None]
    is_complete = _is_complete(failed)
    body = _envelope(results, failed) if is_envelope else _flat(results, failed)
    headers = [(COMPLETE_HEADER, "true" if is_complete else "false")]
    status = _status(request, results, failed)
    if status == 503 and (wait := _retry_after(failed)):
        headers.append(("Retry-After", str(wait)))
    media_type = ENVELOPE_TYPE if is_envelope else "application/json"
    headers.append(("Content-Type", media_type))
    return AggregateAnswer(status=status, headers=tuple(headers), body=body)


def error_of(result: CallResult) -> dict[str, object]:
    """Return one failed call's entry in `errors`."""
    told = result.problem
    assert told is not None
    call = result.call
    return {
        "name": call.name,
        "service": call.service,
        "method": call.method,
        **told.as_dict(),
    }


def _flat(results: Sequence[CallResult], failed: Sequence[CallResult]) -> bytes:
    members = [(each.call.name, each.value or NULL) for each in results]
    if failed:
        members.append(("errors", encode_result([error_of(each) for each in failed])))
    return _object(members)


def _is_complete(failed: Sequence[CallResult]) -> bool:
    return all(each.call.is_optional for each in failed)


def _envelope(results: Sequence[CallResult], failed: Sequence[CallResult]) -> bytes:
    timings = {each.call.name: round(each.took_ms, 3) for each in results}
    return _object(
        [
            ("results", _object([(each.call.name, each.value or NULL) for each in results])),
            ("errors", encode_result([error_of(each) for each in failed])),
            ("complete", encode_result(_is_complete(failed))),
            ("timings", encode_result(timings)),
        ]
    )


def _object(members: Sequence[tuple[str, bytes]]) -> bytes:
    # Names match [A-Za-z][A-Za-z0-9_]*, so they need no escaping.
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in members) + b"}"


def _status(
    request: AggregateRequest, results: Sequence[CallResult], failed: Sequence[CallResult]
) -> int:
    if request.mode == "strict" and failed:
        # The others' reason is the one that failed first.
        told = [each.problem for each in failed if each.problem is not None]
        own = [each for each in told if each.type.slug != "dependency-failed"] or told
        return own[0].status
    if len(failed) < len(results):
        return 200
    kinds = {(each.problem.type.slug, each.problem.status) for each in failed if each.problem}
    statuses = {status for _, status in kinds}
    return statuses.pop() if len(statuses) == 1 else NOTHING_WORKED


def _retry_after(failed: Sequence[CallResult]) -> int:
    waits = [_wait(each.problem) for each in failed if each.problem is not None]
    return max(waits, default=0)


def _wait(told: Problem) -> int:
    wait = told.members.get("retryAfter", 0)
    return wait if isinstance(wait, int) else 0
