"""Credentials: the table of hostile tokens, keys, combinations and challenges."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from dohost.clock import ManualClock, SeededEntropy
from dohost.gateway.api_keys import KeyGrant, KeyRecord, create_key
from dohost.gateway.auth import Authenticator, anonymous_policy, authorise
from dohost.gateway.config_tables import ApiKeyConfig, AuthConfig, IssuerConfig
from dohost.gateway.jwks import JwksDocument, KeySets
from dohost.gateway.principal import ANONYMOUS, Principal
from dohost.gateway.problems import Problem
from dohost.telemetry import Log

NOW = 1_790_000_000
SECRET = "s" * 32
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PEM = RSA.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
CLAIMS = {"iss": "https://id", "aud": "api", "exp": NOW + 60, "sub": "alice", "tenant": "acme"}


def jwk(key: object, kid: str, **more: object) -> dict[str, object]:
    algorithm = {
        rsa.RSAPublicKey: RSAAlgorithm,
        ec.EllipticCurvePublicKey: ECAlgorithm,
        ed25519.Ed25519PublicKey: OKPAlgorithm,
    }
    kind = next(made for cls, made in algorithm.items() if isinstance(key, cls))
    return {**json.loads(kind.to_jwk(key)), "kid": kid, **more}  # type: ignore[attr-defined]  # all three have it


JWKS = {
    "keys": [
        jwk(RSA.public_key(), "rsa"),
        jwk(RSA_WEAK.public_key(), "weak"),
        jwk(RSA.public_key(), "enc", use="enc"),
        jwk(RSA.public_key(), "signs", key_ops=["sign"]),
        jwk(RSA.public_key(), "other-alg", alg="RS512"),
        jwk(RSA.public_key(), "twice"),
        jwk(RSA.public_key(), "twice"),
        jwk(EC.public_key(), "ec"),
        jwk(ED.public_key(), "ed"),
    ]
}


def issuer(**changes: object) -> IssuerConfig:
    fields: dict[str, object] = {
        "issuer": "https://id",
        "audience": ("api",),
        "algorithms": ("RS256", "ES256", "EdDSA"),
        "jwks": JWKS,
        **changes,
    }
    return IssuerConfig(**fields)  # type: ignore[arg-type]  # a table's row


HS = {"algorithms": ("HS256",), "jwks": None, "secret_env": "JWT_SECRET"}


class NoStore:
    def load(self, url: str) -> None:
        return None

    def save(self, url: str, body: bytes, fetched_ns: int) -> None: ...


async def no_fetch(url: str) -> JwksDocument:
    raise AssertionError("no set is fetched here")


def authenticator(
    *issuers: IssuerConfig,
    records: Mapping[str, KeyRecord] | None = None,
    config: AuthConfig | None = None,
    clock: ManualClock | None = None,
    secret: str = SECRET,
) -> Authenticator:
    clock = clock or ManualClock(realtime_ns=NOW * 1_000_000_000)

    async def find(key_id: str) -> KeyRecord | None:
        return (records or {}).get(key_id)

    return Authenticator(
        config or AuthConfig(issuers=issuers),
        secrets={"JWT_SECRET": secret, "GATEWAY_KEY_PEPPER": "pepper"},
        key_sets=KeySets(no_fetch, NoStore(), clock=clock, log=Log(lambda event: None)),
        keys=find,
        clock=clock,
    )


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(
    claims: Mapping[str, object] | str = CLAIMS,
    *,
    key: bytes = SECRET.encode(),
    header: str | None = None,
) -> str:
    """Return an HS256 token with any text as header and claims."""
    head = '{"alg":"HS256"}' if header is None else header
    body = claims if isinstance(claims, str) else json.dumps(claims)
    text = f"{b64(head.encode())}.{b64(body.encode())}"
    return f"{text}.{b64(hmac.new(key, text.encode(), hashlib.sha256).digest())}"


async def verdict(token: str, made: Authenticator) -> Principal | Problem:
    return await made.authenticate({"authorization": f"Bearer {token}"})


@pytest.mark.parametrize(
    ("key", "alg", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")]
)
async def test_good_tokens_of_every_family_are_believed(key: object, alg: str, kid: str) -> None:
    claims = {**CLAIMS, "scope": "a b", "tier": "pro"}
    token = jwt.encode(claims, key, algorithm=alg, headers={"kid": kid})  # type: ignore[arg-type]  # one of three kinds
    found = await verdict(token, authenticator(issuer()))
    assert isinstance(found, Principal)
    assert (found.subject, found.tenant, found.scopes) == ("alice", "acme", {"a", "b"})
    assert found.tier is None
    trusted = await verdict(token, authenticator(issuer(tier_claim_trusted=True)))
    assert isinstance(trusted, Principal)
    assert trusted.tier == "pro"


async def test_a_good_hmac_token_and_a_pem_key_are_believed() -> None:
    assert isinstance(await verdict(signed(), authenticator(issuer(**HS))), Principal)
    pem = issuer(jwks=None, public_key=PEM.decode(), algorithms=("RS256",))
    token = jwt.encode(CLAIMS, RSA, algorithm="RS256")
    assert isinstance(await verdict(token, authenticator(pem)), Principal)


@pytest.mark.parametrize("kid", ["weak", "enc", "signs", "other-alg", "twice", "unknown", "ec"])
async def test_keys_that_are_weak_or_not_meant_are_not_used(kid: str) -> None:
    headers = {"kid": kid}
    key = RSA_WEAK if kid == "weak" else RSA
    with pytest.warns() if kid == "weak" else NO_WARNING:
        token = jwt.encode(CLAIMS, key, algorithm="RS256", headers=headers)
    found = await verdict(token, authenticator(issuer()))
    assert isinstance(found, Problem)
    assert found.status == 401


class NoWarning:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


NO_WARNING = NoWarning()
GOOD = json.dumps(CLAIMS)


def claims(**changes: object) -> dict[str, object]:
    return {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}


HOSTILE = {
    "alg none": signed(header='{"alg":"none"}'),
    "alg None": signed(header='{"alg":"nOnE"}'),
    "alg none, no signature": f"{b64(b'{}')}.{b64(GOOD.encode())}.",
    "alg missing": signed(header="{}"),
    "alg not text": signed(header='{"alg":["HS256"]}'),
    "another alg of the family": signed(header='{"alg":"HS384"}'),
    "public-key alg": signed(header='{"alg":"RS256"}'),
    "wrong key": signed(key=b"x" * 32),
    "padded": signed().replace(".", "=.", 1),
    "standard base64": f"{b64(b'{}')}.+/+/.{b64(b'x')}",
    "two parts": signed().rpartition(".")[0],
    "four parts": signed() + ".x",
    "loose last bits": signed()[:-1] + chr(ord(signed()[-1]) + 1),
    "duplicate alg": signed(header='{"alg":"none","alg":"HS256"}'),
    "duplicate claim": signed(GOOD[:-1] + ',"tenant":"evil"}'),
    "crit": signed(header='{"alg":"HS256","crit":["exp"]}'),
    "empty crit": signed(header='{"alg":"HS256","crit":[]}'),
    "b64 false": signed(header='{"alg":"HS256","b64":false}'),
    "kid not text": signed(header='{"alg":"HS256","kid":7}'),
    "kid long": signed(header=json.dumps({"alg": "HS256", "kid": "k" * 257})),
    "NaN": signed(GOOD.replace(str(NOW + 60), "NaN")),
    "exp missing": signed(claims(exp=None)),
    "exp text": signed(claims(exp=str(NOW + 60))),
    "exp bool": signed(claims(exp=True)),
    "exp null": signed(GOOD.replace(str(NOW + 60), "null")),
    "exp infinite": signed(GOOD.replace(str(NOW + 60), "1e999")),
    "exp huge": signed(claims(exp=10**15)),
    "exp very long": signed(GOOD.replace(str(NOW + 60), "9" * 5_000)),
    "exp past": signed(claims(exp=NOW - 30)),
    "nbf ahead": signed(claims(nbf=NOW + 31)),
    "nbf text": signed(claims(nbf="0")),
    "iat ahead": signed(claims(iat=NOW + 31)),
    "iss another": signed(claims(iss="https://id/")),
    "iss missing": signed(claims(iss=None)),
    "iss list": signed(claims(iss=["https://id"])),
    "aud another": signed(claims(aud="web")),
    "aud missing": signed(claims(aud=None)),
    "aud numbers": signed(claims(aud=["api", 7])),
    "sub number": signed(claims(sub=7)),
    "jti list": signed(claims(jti=[])),
    "claims a list": signed("[]"),
    "claims deep": signed("[" * 3_000),
    "not UTF-8": f"{b64(b'{}')}.{b64(bytes([0xFF]))}.{b64(b'x')}",
    "too long": signed(claims(pad="x" * 8_192)),
    "empty": "",
    "control": signed() + "\x00",
    "sub a lone surrogate": signed(claims(sub="\ud800")),
    "scope with a lone surrogate": signed(claims(scope="a\ud800")),
    "tenant number": signed(claims(tenant=1)),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_token_is_refused(name: str) -> None:
    found = await verdict(HOSTILE[name], authenticator(issuer(**HS)))
    assert isinstance(found, Problem), name
    assert found.status == 401
    assert 'error="invalid_token"' in dict(found.headers)["WWW-Authenticate"]


async def test_an_rsa_public_key_is_no_hmac_secret() -> None:
    token = signed(key=PEM)
    assert isinstance(await verdict(token, authenticator(issuer())), Problem)
    confused = authenticator(issuer(**HS), secret=PEM.decode())
    assert isinstance(await verdict(token, confused), Problem)


async def test_a_short_hmac_secret_verifies_nothing() -> None:
    short = authenticator(issuer(**HS), secret="s" * 31)
    assert isinstance(await verdict(signed(key=b"s" * 31), short), Problem)
    missing = authenticator(issuer(**HS), secret="")
    assert isinstance(await verdict(signed(key=b""), missing), Problem)


async def test_leeway_is_thirty_seconds_and_expiry_is_the_one_reason_told() -> None:
    made = authenticator(issuer(**HS))
    assert isinstance(await verdict(signed(claims(exp=NOW - 29)), made), Principal)
    assert isinstance(await verdict(signed(claims(nbf=NOW + 30, iat=NOW + 30)), made), Principal)
    expired = await verdict(signed(claims(exp=NOW - 30)), made)
    assert isinstance(expired, Problem)
    assert expired.detail == "The credential has expired."


async def test_age_type_and_denied_ids_are_checked_where_configured() -> None:
    made = authenticator(issuer(**HS, max_age_s=100, typ="at+jwt", jti_denied=("bad",)))
    head = '{"alg":"HS256","typ":"application/at+jwt"}'
    good = claims(iat=NOW - 100)
    assert isinstance(await verdict(signed(good, header=head), made), Principal)
    for token in (
        signed(claims(iat=NOW - 130), header=head),
        signed(claims(), header=head),
        signed(good),
        signed(claims(iat=NOW, jti="bad"), header=head),
    ):
        assert isinstance(await verdict(token, made), Problem)


async def test_a_remembered_verdict_ends_with_the_token() -> None:
    clock = ManualClock(realtime_ns=NOW * 1_000_000_000)
    made = authenticator(issuer(**HS), clock=clock)
    token = signed(claims(exp=NOW + 40))
    assert isinstance(await verdict(token, made), Principal)
    clock.advance(69)
    assert isinstance(await verdict(token, made), Principal)
    clock.advance(1)
    assert isinstance(await verdict(token, made), Problem)


GRANT = KeyGrant(tenant="acme", tier="pro", scopes=("a", "b"))
MADE = create_key(
    GRANT, env="live", pepper="pepper", entropy=SeededEntropy(1), now_ns=NOW * 1_000_000_000
)
RECORDS = {MADE.record.id: MADE.record}


@pytest.mark.parametrize("field", ["x-api-key", "authorization"])
async def test_an_api_key_is_found_in_either_header(field: str) -> None:
    text = MADE.text if field == "x-api-key" else f"ApiKey {MADE.text}"
    found = await authenticator(records=RECORDS).authenticate({field: text})
    assert isinstance(found, Principal)
    assert (found.kind, found.tenant, found.tier) == ("api-key", "acme", "pro")
    assert found.subject == f"key:{MADE.record.id}"


async def test_an_unknown_or_malformed_key_is_refused() -> None:
    for text in ("", "dd_live_x", MADE.text[:-1], MADE.text):
        found = await authenticator().authenticate({"x-api-key": text})
        assert isinstance(found, Problem)
        assert found.status == 401


async def test_a_key_of_the_configuration_wins_and_needs_no_pepper() -> None:
    digest = hashlib.sha256(MADE.text.encode()).hexdigest()
    key = ApiKeyConfig(id=MADE.record.id, hash=digest, tenant="fixed")
    config = AuthConfig(api_keys=(key,))
    found = await authenticator(records=RECORDS, config=config).authenticate(
        {"x-api-key": MADE.text}
    )
    assert isinstance(found, Principal)
    assert found.tenant == "fixed"


async def test_two_credentials_must_agree_and_allow_what_both_allow() -> None:
    made = authenticator(issuer(**HS), records=RECORDS)
    token = signed(claims(scope="b c"))
    both = {"authorization": f"Bearer {token}", "x-api-key": MADE.text}
    found = await made.authenticate(both)
    assert isinstance(found, Principal)
    assert found.scopes == {"b"}
    foreign = {**both, "authorization": f"Bearer {signed(claims(tenant='other'))}"}
    disagree = await made.authenticate(foreign)
    assert isinstance(disagree, Problem)
    assert disagree.status == 400
    bad = await made.authenticate({**both, "authorization": "Bearer x"})
    assert isinstance(bad, Problem)
    assert bad.status == 401
    two = await made.authenticate({"x-api-key": MADE.text, "authorization": "ApiKey other"})
    assert isinstance(two, Problem)
    assert two.status == 400


async def test_a_store_that_fails_lets_nobody_in() -> None:
    made = authenticator()

    async def broken(key_id: str) -> KeyRecord | None:
        raise OSError("down")

    made._keys = broken
    with pytest.raises(OSError, match="down"):
        await made.authenticate({"x-api-key": MADE.text})


async def test_no_credential_is_anonymous_and_the_challenge_names_no_error() -> None:
    config = AuthConfig(issuers=(issuer(),), realm='r"x')
    assert await authenticator(config=config).authenticate({}) == ANONYMOUS
    refused = authorise(ANONYMOUS, required=(), method="GET", config=config)
    assert refused is not None
    assert refused.status == 401
    assert dict(refused.headers)["WWW-Authenticate"] == 'Bearer realm="r\\"x", ApiKey realm="r\\"x"'


@pytest.mark.parametrize(
    ("anonymous", "method", "route_auth", "allowed"),
    [
        ("all", "POST", "default", True),
        ("read", "GET", "default", True),
        ("read", "POST", "default", False),
        ("none", "GET", "default", False),
        ("none", "POST", "none", True),
        ("all", "GET", "required", False),
    ],
)
def test_what_anonymous_callers_may_do(
    anonymous: str, method: str, route_auth: str, allowed: bool
) -> None:
    config = AuthConfig(anonymous=anonymous)  # type: ignore[arg-type]  # a table's row
    found = authorise(ANONYMOUS, required=(), method=method, config=config, route_auth=route_auth)  # type: ignore[arg-type]  # a table's row
    assert (found is None) == allowed


def test_anonymous_is_all_until_a_key_or_an_issuer_exists() -> None:
    assert anonymous_policy(AuthConfig()) == "all"
    assert anonymous_policy(AuthConfig(), has_runtime_keys=True) == "none"
    assert anonymous_policy(AuthConfig(issuers=(issuer(),))) == "none"


def test_a_missing_scope_is_403_and_says_which() -> None:
    caller = Principal(kind="jwt", scopes=frozenset({"a"}))
    assert authorise(caller, required=("a",), method="GET", config=AuthConfig()) is None
    found = authorise(caller, required=("a", "b"), method="GET", config=AuthConfig())
    assert found is not None
    assert found.status == 403
    field = dict(found.headers)["WWW-Authenticate"]
    assert 'error="insufficient_scope", scope="a b"' in field
    assert authorise(ANONYMOUS, required=("a",), method="GET", config=AuthConfig()) is not None
