"""Headers that pass, ids, traces, and cross-origin access."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohost.clock import ManualClock, SeededEntropy
from dohost.gateway.config_tables import CorsConfig
from dohost.gateway.cors import cors_headers, is_preflight, preflight_headers
from dohost.gateway.headers import (
    merge_vary,
    request_id,
    trace_of,
    without_hop_by_hop,
    without_identity,
)

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_hop_by_hop_fields_end_here_named_ones_too() -> None:
    fields = [
        ("Connection", "keep-alive, X-Hop"),
        ("x-hop", "1"),
        ("TE", "trailers"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
        ("Accept", "*/*"),
    ]
    assert without_hop_by_hop(fields) == [("Accept", "*/*")]


@pytest.mark.parametrize(
    "name",
    [
        "X-Tenant-ID",
        "X_Tenant_ID",
        "x-tenant",
        "X-User-Id",
        "X_User",
        "X-Tier",
        "X_TIER",
        "X-Gateway-Context",
        "x_gateway_x",
    ],
)
def test_identity_fields_and_their_twins_are_dropped(name: str) -> None:
    assert without_identity([(name, "evil"), ("X-Usertest", "1")]) == [("X-Usertest", "1")]


@pytest.mark.parametrize(
    ("inbound", "kept"),
    [
        ("abcdefgh", True),
        ("a" * 128, True),
        ("abcdefg", False),
        ("a" * 129, False),
        ("bad id 12", False),
        ("ab\ncdefgh", False),
        ("äbcdefgh", False),
        (None, False),
    ],
)
def test_a_request_id_is_kept_if_well_formed_else_made(inbound: str | None, kept: bool) -> None:
    made = request_id(inbound, clock=ManualClock(), entropy=SeededEntropy(1))
    assert (made == inbound) == kept
    assert kept or made[14] == "7"


def test_a_valid_trace_goes_on_with_a_span_of_ours() -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1, b=2"}
    trace = trace_of(headers, entropy=SeededEntropy(1))
    assert trace.trace_id == TRACE
    assert trace.parent_id != PARENT
    assert trace.tracestate == "a=1,b=2"
    assert trace.traceparent == f"00-{TRACE}-{trace.parent_id}-01"


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-x",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
    ],
)
def test_an_invalid_trace_restarts_and_drops_its_state(value: str) -> None:
    trace = trace_of({"traceparent": value, "tracestate": "a=1"}, entropy=SeededEntropy(1))
    assert trace.trace_id.lower() != TRACE
    assert trace.tracestate is None


def test_a_later_version_of_the_field_is_understood_as_far_as_we_know_it() -> None:
    trace = trace_of({"traceparent": f"01-{TRACE}-{PARENT}-03-x"}, entropy=SeededEntropy(1))
    assert trace.traceparent == f"00-{TRACE}-{trace.parent_id}-01"


def test_tracestate_has_at_most_32_members() -> None:
    for count, kept in ((32, True), (33, False)):
        state = ",".join(f"k{n}=1" for n in range(count))
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-00", "tracestate": state}
        assert (trace_of(headers, entropy=SeededEntropy(1)).tracestate == state) == kept


@given(st.lists(st.sampled_from(["Origin", "origin", "Accept", "*"])))
def test_vary_is_one_field_without_repetition(names: list[str]) -> None:
    merged = merge_vary([("vary", "Origin"), ("A", "1"), ("Vary", "x, ")], names)
    (value,) = [value for name, value in merged if name == "Vary"]
    tokens = value.split(", ")
    assert len({token.lower() for token in tokens}) == len(tokens)
    assert (value == "*") == ("*" in names)
    assert ("A", "1") in merged


CORS = CorsConfig(origins=("https://app.example",), credentials=True, private_network=True)
ASK = {"origin": "https://app.example", "access-control-request-method": "PUT"}


def test_a_preflight_is_options_with_origin_and_method() -> None:
    assert is_preflight("OPTIONS", ASK)
    assert not is_preflight("GET", ASK)
    assert not is_preflight("OPTIONS", {"origin": "https://app.example"})


def test_a_preflight_of_a_listed_origin_is_granted() -> None:
    asked = {
        **ASK,
        "access-control-request-headers": "content-type, x-api-key",
        "access-control-request-private-network": "true",
    }
    found = dict(preflight_headers(CORS, asked))
    assert found["Access-Control-Allow-Origin"] == "https://app.example"
    assert "PUT" in found["Access-Control-Allow-Methods"]
    assert found["Access-Control-Max-Age"] == "600"
    assert found["Access-Control-Allow-Credentials"] == "true"
    assert found["Access-Control-Allow-Private-Network"] == "true"
    assert found["Vary"].startswith("Origin")


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "https://evil.example"},
        {"origin": "https://app.example.evil.example"},
        {"origin": "http://app.example"},
        {"origin": "null"},
        {"access-control-request-method": "TRACE"},
        {"access-control-request-headers": "x-evil"},
    ],
)
def test_a_preflight_of_anything_else_gets_no_permission(change: dict[str, str]) -> None:
    assert [name for name, _ in preflight_headers(CORS, {**ASK, **change})] == ["Vary"]


def test_every_answer_varies_by_origin_and_exposes_the_limit_fields() -> None:
    assert cors_headers(CORS, None) == (("Vary", "Origin"),)
    assert cors_headers(CORS, "https://evil.example") == (("Vary", "Origin"),)
    found = dict(cors_headers(CORS, "https://app.example"))
    assert found["Access-Control-Allow-Origin"] == "https://app.example"
    for name in ("RateLimit", "RateLimit-Policy", "Retry-After", "X-RateLimit-Remaining"):
        assert name in found["Access-Control-Expose-Headers"]
    assert cors_headers(CorsConfig(), "https://app.example") == ()


def test_the_wildcard_never_comes_with_credentials_or_for_null() -> None:
    open_to_all = CorsConfig(origins=("*",))
    assert dict(cors_headers(open_to_all, "https://x"))["Access-Control-Allow-Origin"] == "*"
    assert cors_headers(open_to_all, "null") == (("Vary", "Origin"),)
    both = CorsConfig(origins=("*",), credentials=True)
    assert cors_headers(both, "https://x") == (("Vary", "Origin"),)
