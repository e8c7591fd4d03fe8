"""Configuration: the mission's spellings, merging, and all errors at once."""

from __future__ import annotations

import json

import pytest

from dohost.gateway.config import ConfigProblem, GatewayConfig, decode
from dohost.gateway.config_tables import Tier


def good(**tables: object) -> GatewayConfig:
    config = decode({"GATEWAY": tables})
    assert isinstance(config, GatewayConfig), [str(each) for each in config]
    return config


def problems(**tables: object) -> dict[str, ConfigProblem]:
    found = decode({"GATEWAY": tables})
    assert isinstance(found, tuple)
    return {each.path: each for each in found}


class Proxy:
    """What Cloudflare hands to Python for a JSON variable."""

    def __init__(self, value: object) -> None:
        self._value = value

    def to_py(self) -> object:
        return self._value


def test_nothing_configured_has_the_defaults_of_the_mission() -> None:
    config = decode({})
    assert isinstance(config, GatewayConfig)
    assert config.rate_limits == {
        "free": Tier(rpm=100, burst=10),
        "starter": Tier(rpm=1_000, burst=50),
        "pro": Tier(rpm=10_000, burst=200),
        "enterprise": Tier(rpm=100_000, burst=1_000),
    }
    breaker = config.circuit_breaker
    assert (breaker.threshold, breaker.timeout_ms, breaker.half_open_max) == (5, 30_000, 3)
    assert config.aggregate.calls_max == 20
    assert config.sharding == "tenant"


def test_the_mission_spellings_are_accepted() -> None:
    config = good(
        services={"users": "USER_DO"},
        routes={"/api/v1/users/*": "USER_DO", "/api/v2/*": "V2_DO", "/u/*": "users"},
        circuitBreaker={"threshold": 2, "timeout": 1_000, "halfOpenMax": 1},
        rateLimits={"free": {"rpm": 5, "burst": 2}},
    )
    assert [route.service for route in config.routes] == ["users", "V2_DO", "users"]
    assert config.services["V2_DO"].binding == "V2_DO"
    assert config.services["users"].scope == "tenant"
    assert config.circuit_breaker.timeout_ms == 1_000
    assert config.circuit_breaker.half_open_max == 1
    assert config.rate_limits["free"] == Tier(rpm=5, burst=2)
    assert config.rate_limits["pro"].rpm == 10_000


def test_variables_are_merged_whether_dict_json_or_proxy() -> None:
    config = decode(
        {
            "GATEWAY": Proxy({"services": {"a": "A_DO"}}),
            "GATEWAY_MORE": json.dumps({"services": {"b": "B_DO"}, "demo": True}),
            "GATEWAY_LAST": {"cors": {"origins": ["https://app.example"]}},
            "GATEWAY_ADMIN_TOKEN": '{"looks": "like JSON"}',
            "GATEWAY_DO": object(),
            "GATEWAY_NOTE": "just text",
            "OTHER": {"routes": 1},
        }
    )
    assert isinstance(config, GatewayConfig)
    assert set(config.services) == {"a", "b"}
    assert config.demo
    assert config.cors.origins == ("https://app.example",)


def test_what_is_set_in_two_variables_is_a_problem() -> None:
    found = decode({"GATEWAY": {"demo": True}, "GATEWAY_B": {"demo": False}})
    assert isinstance(found, tuple)
    assert str(found[0]) == "GATEWAY_B.demo: is set twice."


def test_all_errors_come_at_once_with_path_and_suggestion() -> None:
    found = problems(
        servces={},
        circuit_breaker={"treshold": 5, "timeout_ms": "30"},
        rate_limits={"free": {"rpm": 100, "burst": 0}},
        routes={"/a": "userz", "/b/*/c": "users", "/d": 7},
        services={"users": {"binding": "USER_DO", "scope": "shard"}},
        sharding="tenants",
        auth={"issuers": [{"issuer": "i"}]},
    )
    assert found["GATEWAY.servces"].suggestion == "services"
    assert found["GATEWAY.circuit_breaker.treshold"].suggestion == "threshold"
    assert "expected int" in found["GATEWAY.circuit_breaker.timeout_ms"].message
    assert ">= 1" in found["GATEWAY.rate_limits.free.burst"].message
    assert found['GATEWAY.routes."/a"'].suggestion == "users"
    assert 'GATEWAY.routes."/d"' in found
    assert found["GATEWAY.services.users.scope"].suggestion == "shared"
    assert found["GATEWAY.sharding"].suggestion == "tenant"
    assert found["GATEWAY.auth.issuers[0].audience"].message == "is required."


@pytest.mark.parametrize(
    ("path", "tables"),
    [
        ('GATEWAY.routes."/b/*/c"', {"services": {"u": "U"}, "routes": {"/b/*/c": "u"}}),
        ("GATEWAY.services.u", {"services": {"u": {}}}),
        ("GATEWAY.services.u", {"services": {"u": {"binding": "B", "url": "http://h"}}}),
        ("GATEWAY.services.u.url", {"services": {"u": {"url": "http://a@b/"}}}),
        ("GATEWAY.services.u.url", {"services": {"u": {"url": "file:///etc"}}}),
        ("GATEWAY.services.a-b", {"services": {"a-b": "B"}}),
        ("GATEWAY.tenants.acme.tier", {"tenants": {"acme": "gold"}}),
        ("GATEWAY.tenants.$x", {"tenants": {"$x": "free"}}),
        ("GATEWAY.tenancy.trusted_proxies[0]", {"tenancy": {"trusted_proxies": ["10.0.0.0/33"]}}),
        ("GATEWAY.tenancy.trust_tenant_headers", {"tenancy": {"trust_tenant_headers": True}}),
        ('GATEWAY.tenancy.hosts."A.example"', {"tenancy": {"hosts": {"A.example": "acme"}}}),
        ('GATEWAY.tenancy.hosts."a:80"', {"tenancy": {"hosts": {"a:80": "acme"}}}),
        (
            'GATEWAY.routes."/r".hosts[1]',
            {
                "services": {"u": "U"},
                "routes": {"/r": {"service": "u", "hosts": ["[::1]", "bücher.example"]}},
            },
        ),
        ("GATEWAY.cors.origins[0]", {"cors": {"origins": ["*"], "credentials": True}}),
        ("GATEWAY.cors.origins[0]", {"cors": {"origins": ["https://a.example/x"]}}),
        ("GATEWAY.versions.default", {"versions": {"supported": {"1": {}}, "default": "2"}}),
        (
            'GATEWAY.versions.supported."1".sunset',
            {
                "versions": {
                    "supported": {"1": {"deprecated": "2026-02-01", "sunset": "2026-01-01"}}
                }
            },
        ),
        ("GATEWAY.builtin_prefix", {"builtin_prefix": "gw"}),
        ("GATEWAY.cors.expose[0]", {"cors": {"expose": ["X-A\r\nX-B"]}}),
        ("GATEWAY.versions.headers[1]", {"versions": {"headers": ["A", "a b"]}}),
        ("GATEWAY.rate_limits.free.burst", {"rate_limits": {"free": {"rpm": 1, "burst": 10**15}}}),
        ("GATEWAY.rate_limits.free.rpm", {"rate_limits": {"free": {"rpm": 60_000_000_001}}}),
        ("GATEWAY.mirror.m.service", {"mirror": {"m": "nobody"}}),
        ("GATEWAY.hash", {"hash": "x"}),
    ],
)
def test_what_types_cannot_say_is_checked_too(path: str, tables: dict[str, object]) -> None:
    assert path in problems(**tables)


# The example of RFC 8037.
KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
PEM = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----"""
ISSUER = {
    "issuer": "https://id",
    "audience": ["api"],
    "algorithms": ["EdDSA"],
    "jwks": {"keys": [KEY]},
}


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (".algorithms", {"algorithms": ["EdDSA", "HS256"]}),
        (".algorithms", {"algorithms": []}),
        (".algorithms[]", {"algorithms": ["none"]}),
        (".audience", {"audience": []}),
        ("", {"secret_env": "S"}),
        ("", {"jwks": None, "secret_env": "S"}),
        (".jwks_url", {"jwks": None, "jwks_url": "http://id/keys"}),
        (".leeway_s", {"leeway_s": 61}),
        (".public_key", {"jwks": None, "public_key": PEM[:-30]}),
        (".public_key", {"jwks": None, "public_key": PEM, "algorithms": ["RS256"]}),
        (".jwks", {"jwks": {"keys": []}}),
        (".jwks", {"jwks": {"keys": "x"}}),
        (".jwks", {"jwks": {"keys": [{**KEY, "use": "enc"}]}}),
        (".jwks", {"algorithms": ["RS256", "ES256"]}),
    ],
)
def test_an_issuer_whose_keys_and_algorithms_do_not_fit_is_refused(
    path: str, change: dict[str, object]
) -> None:
    assert good(auth={"issuers": [ISSUER]})
    assert good(auth={"issuers": [{**ISSUER, "jwks": None, "public_key": PEM}]})
    found = problems(auth={"issuers": [{**ISSUER, **change}]})
    assert any(each.startswith(f"GATEWAY.auth.issuers[0]{path}"[:34]) for each in found), found


@pytest.mark.parametrize(
    ("member", "wrong"), [("id", "Ops"), ("id", "ops-key"), ("id", "key1\n"), ("tenant", "acme\n")]
)
def test_a_key_that_could_never_be_found_is_a_problem(member: str, wrong: str) -> None:
    key = {"id": "key1", "hash": "0" * 64, "tenant": "acme"}
    assert good(auth={"api_keys": [key]})
    assert f"GATEWAY.auth.api_keys[0].{member}" in problems(
        auth={"api_keys": [{**key, member: wrong}]}
    )


def test_a_binding_that_does_not_exist_is_a_problem_where_they_are_known() -> None:
    variables = {"GATEWAY": {"services": {"users": "USR_DO"}}}
    found = decode(variables, bindings=frozenset({"USER_DO"}))
    assert isinstance(found, tuple)
    assert found[0].suggestion == "USER_DO"


def test_text_that_is_not_json_is_a_problem() -> None:
    for text in ("{", "[1]", "[" * 100_000):
        assert isinstance(decode({"GATEWAY": text}), tuple)


def test_equal_content_has_an_equal_hash() -> None:
    one = good(demo=True, services={"a": "A", "b": "B"})
    other = good(services={"b": "B", "a": "A"}, demo=True)
    assert one.hash == other.hash
    assert good().hash != one.hash
