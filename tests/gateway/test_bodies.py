"""How much a body may be, by what its head says."""

from __future__ import annotations

import pytest
from deployment import Deployment
from sample_things import CONFIG, Things

from dohost.gateway.bodies import is_over


@pytest.mark.parametrize(
    ("declared", "is_refused"),
    [
        ("", False),
        ("10", False),
        ("11", True),
        ("0000000000000000000000010", False),
        ("9" * 5_000, True),
        ("0" * 5_000, False),
        ("-5", False),
        ("1e9", False),
        ("\u0661\u0662", False),
    ],
)
def test_a_length_of_any_number_of_digits_is_judged(declared: str, is_refused: bool) -> None:
    assert is_over(declared, 10) is is_refused


async def test_a_length_that_is_no_number_for_python_is_too_large() -> None:
    services = {"THING_DO": Things, "OWNED_DO": Things, "RAW_DO": Things}
    gateway = Deployment(CONFIG, services)
    headers = {"Content-Length": "9" * 5_000}
    assert (await gateway.send("POST", "/things/fresh", "x", headers=headers)).status == 413


async def test_a_host_of_ipv6_names_its_tenant() -> None:
    services = {"THING_DO": Things, "OWNED_DO": Things, "RAW_DO": Things}
    tenancy = {"hosts": {"[::1]": "acme", "b.example": "globex"}}
    gateway = Deployment({**CONFIG, "tenancy": tenancy, "tenants": {"acme": "free"}}, services)
    for host, tenant in (
        ("[::1]:8787", "acme"),
        ("[::1]", "acme"),
        ("b.example:80", "globex"),
        ("B.example", "globex"),
        ("[::2]:8787", "anonymous"),
    ):
        status = await gateway.send("GET", "/api/rate-limit/status", headers={"Host": host})
        assert status.json["tenant"] == tenant
