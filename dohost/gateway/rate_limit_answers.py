"""What clients are told about limits: fields, 429 and 413 problems, and the status body.

The fields are those of draft-ietf-httpapi-ratelimit-headers-10: lists of string items, `t` the whole
seconds until more quota appears, rounded up. The legacy triple says its reset in epoch seconds.
"""

from __future__ import annotations

import msgspec

from dohost.gateway.problems import Problem, problem
from dohost.gateway.rate_limit import LimitDecision, LimitState, Refused, TooCostly
from dohost.memo import Memo

Header = tuple[str, str]
SECOND_NS = 1_000_000_000
_FIXED: Memo[Fixed] = Memo(entries_max=1_024)
EXPOSED = (
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
)


def limit_headers(
    decision: LimitDecision, now_ns: int, *, legacy: bool = True
) -> tuple[Header, ...]:
    """Return RateLimit-Policy, RateLimit, legacy fields, and Retry-After for a refusal."""
    states = states_of(decision)
    if len(states) > 1:
        states = tuple([state for state in states if state.limit is not None])
    if not states or states[0].limit is None:
        return ()
    fields = state_headers(states[0], now_ns, legacy=legacy)
    if len(states) > 1:
        joined = {
            "RateLimit-Policy": ", ".join([fixed_fields(state).policy[1] for state in states]),
            "RateLimit": ", ".join([moving_headers(each, now_ns)[0][1] for each in states]),
        }
        fields = tuple([(name, joined.get(name, value)) for name, value in fields])
    if isinstance(decision, Refused):
        return (*fields, ("Retry-After", str(retry_after_s(decision))))
    return fields


def state_headers(state: LimitState, now_ns: int, *, legacy: bool = True) -> tuple[Header, ...]:
    """Return RateLimit-Policy, RateLimit and legacy fields of one policy; nothing without a limit."""
    if state.limit is None:
        return ()
    fixed, moving = fixed_fields(state), moving_headers(state, now_ns, legacy=legacy)
    return (fixed.policy, fixed.limit, *moving) if legacy else (fixed.policy, *moving)


def moving_headers(state: LimitState, now_ns: int, *, legacy: bool = True) -> tuple[Header, ...]:
    """Return those of the fields of one policy that change from one request to the next."""
    if state.limit is None:
        return ()
    remaining, wait_ns = state.remaining, state.next_unit_ns
    # A full bucket has no `t`, for no more will come.
    more = f";t={-(-wait_ns // SECOND_NS)}" if wait_ns else ""
    told = ("RateLimit", f"{fixed_fields(state).start}{remaining}{more}")
    if not legacy:
        return (told,)
    return (
        told,
        ("X-RateLimit-Remaining", str(remaining)),
        ("X-RateLimit-Reset", str(-(-(now_ns + state.full_reset_ns) // SECOND_NS))),
    )


def limit_problem(
    decision: Refused | TooCostly, now_ns: int, *, tenant: str, tier: str, legacy: bool = True
) -> Problem:
    """Return the 429 (`quota-exceeded`) or 413 (`cost-exceeds-burst`) answer, headers included."""
    headers = limit_headers(decision, now_ns, legacy=legacy)
    if isinstance(decision, TooCostly):
        most = decision.state.capacity
        detail = f"The request costs {decision.cost}, more than {most} at once; split it."
        return problem(
            "cost-exceeds-burst",
            detail,
            headers=headers,
            cost=decision.cost,
            burst=most,
            tenant=tenant,
            tier=tier,
        )
    tightest = decision.violated[0]
    wait = retry_after_s(decision)
    members: dict[str, object] = {
        "violated-policies": [state.policy.name for state in decision.violated],
        "tenant": tenant,
        "tier": tier,
        "limit": tightest.limit,
        "burst": tightest.burst,
        "retryAfter": wait,
        "error": "Rate limit exceeded",
    }
    detail = f"The limit {tightest.policy.name!r} is used up; try again in {wait} s."
    refused = problem("quota-exceeded", detail, headers=headers)
    return msgspec.structs.replace(refused, members=members)


def limit_status(
    decision: LimitDecision, now_ns: int, *, tenant: str, tier: str
) -> dict[str, object]:
    """Return the body of `/api/rate-limit/status`; give it what `Limiter.peek` returned.

    `resetAt` is in epoch milliseconds, `retryAfter` in seconds (0: a request would pass now).
    """
    state = states_of(decision)[0]
    return {
        "tenant": tenant,
        "tier": tier,
        "algorithm": state.policy.algorithm,
        "limit": state.limit,
        "burst": state.burst,
        "used": state.capacity - state.remaining,
        "remaining": state.remaining,
        "resetAt": -(-(now_ns + state.full_reset_ns) // 1_000_000),
        "retryAfter": retry_after_s(decision) if isinstance(decision, Refused) else 0,
    }


def states_of(decision: LimitDecision) -> tuple[LimitState, ...]:
    """Return the states, tightest first."""
    return (decision.state,) if isinstance(decision, TooCostly) else decision.states


def retry_after_s(decision: Refused) -> int:
    """Return Retry-After: at least 1, and not before `t` of any policy that refused."""
    waits = [decision.retry_ns, *(state.next_unit_ns for state in decision.violated)]
    return max(1, seconds_up(max(waits)))


class Fixed(msgspec.Struct, frozen=True):
    """What is told of a policy whatever its state: two fields, and how its member of RateLimit begins."""

    policy: Header
    limit: Header
    start: str


def fixed_fields(state: LimitState) -> Fixed:
    """Return what a policy's fields have in common, made once for each plan."""
    key = (state.policy.name, state.limit, state.burst)
    known = _FIXED.get(key)
    if known is None:
        name = sf_string(key[0])
        item = f"{name};q={state.limit};w=60;dohost-burst={state.burst}"
        limit = ("X-RateLimit-Limit", str(state.limit))
        known = Fixed(("RateLimit-Policy", item), limit, f"{name};r=")
        _FIXED.put(key, known)
    return known


def sf_string(text: str) -> str:
    """Return a structured-field String (RFC 9651 §3.3.3); what it can't hold becomes "?"."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def seconds_up(duration_ns: int) -> int:
    """Return whole seconds, rounded up."""
    return -(-duration_ns // SECOND_NS)
