"""Authentication: from the headers of a request to a `Principal`, or to the reason there is none.

JWTs are checked strictly before any key is touched (`jwt_checks.py`), the issuer's configuration
alone chooses algorithms and keys, and PyJWT verifies signatures and nothing else. Failure is closed: no
key, no set, no store means 401 or an error, never a guess. Clients hear that a credential has expired
or is invalid, and no more.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from dohost.clock import Clock
from dohost.gateway.api_keys import (
    KeyRecord,
    configured_key,
    next_change_ns,
    parse_key,
    verify_key,
)
from dohost.gateway.config_tables import AuthConfig, IssuerConfig
from dohost.gateway.jwks import KeySets
from dohost.gateway.jwt_checks import Token, TokenFault, claims_fault, parse_token
from dohost.gateway.principal import ANONYMOUS, Principal
from dohost.gateway.problems import Problem, problem

if TYPE_CHECKING:
    from dohost.gateway.signatures import Signatures

VERDICT_TTL_NS = 60_000_000_000
VERDICTS_MAX = 1_000
READS = frozenset({"GET", "HEAD", "OPTIONS"})
HMAC_BYTES_MIN = {"HS256": 32, "HS384": 48, "HS512": 64}
Anonymous = Literal["all", "read", "none"]


class KeyLookup(Protocol):
    """Finds an API key's record by its id (`$control` asks its table; the result may be memoised)."""

    async def __call__(self, key_id: str) -> KeyRecord | None: ...


class Authenticator:
    """Verifies credentials. `secrets` are the variables that the configuration names."""

    def __init__(
        self,
        config: AuthConfig,
        *,
        secrets: Mapping[str, str],
        key_sets: KeySets,
        keys: KeyLookup,
        clock: Clock,
    ) -> None:
        self._config = config
        self._issuers = {issuer.issuer: issuer for issuer in config.issuers}
        self._configured = {key.id: configured_key(key) for key in config.api_keys}
        self._secrets = secrets
        self._key_sets = key_sets
        self._keys = keys
        self._clock = clock
        self._signatures = _signatures() if config.issuers else None
        self._verdicts: OrderedDict[bytes, Principal] = OrderedDict()

    async def authenticate(self, headers: Mapping[str, str]) -> Principal | Problem:
        """Return who calls (`ANONYMOUS` without a credential), or a 400 or 401 problem.

        Header names are in lower case. A JWT and an API key may be sent together if they are of one
        tenant; what both allow is allowed.
        """
        scheme, _, credential = headers.get("authorization", "").partition(" ")
        bearer = credential.strip(" ") if scheme.lower() == "bearer" else None
        given = {headers["x-api-key"].strip(" ")} if "x-api-key" in headers else set()
        if scheme.lower() == "apikey":
            given.add(credential.strip(" "))
        if len(given) > 1:
            return problem("credential-conflict", "Two different API keys were sent.")
        by_key = await self._by_key(given.pop()) if given else None
        by_token = await self._by_token(bearer) if bearer is not None else None
        for found in (by_key, by_token):
            if isinstance(found, TokenFault):
                return self._challenge(found)
        assert not isinstance(by_key, TokenFault)
        assert not isinstance(by_token, TokenFault)
        if by_key is not None and by_token is not None:
            if by_key.tenant != by_token.tenant:
                return problem("credential-conflict", "The credentials are of different tenants.")
            return msgspec.structs.replace(
                by_key,
                scopes=by_key.scopes & by_token.scopes,
                until_ns=earliest(by_key.until_ns, by_token.until_ns),
            )
        return by_key or by_token or ANONYMOUS

    async def _by_key(self, text: str) -> Principal | TokenFault:
        parsed = parse_key(text)
        if parsed is None:
            return TokenFault("malformed API key")
        record = self._configured.get(parsed.id) or await self._keys(parsed.id)
        pepper = self._secrets.get(self._config.key_pepper_env)
        # Keys in the configuration are digests made by hand, without the pepper.
        if record is not None and record.read_only:
            pepper = None
        now_ns = self._clock.realtime_ns()
        if not verify_key(parsed, record, pepper=pepper, now_ns=now_ns):
            return TokenFault("unknown, revoked or expired API key")
        assert record is not None
        return Principal(
            kind="api-key",
            subject=f"key:{record.id}",
            tenant=record.tenant,
            tier=record.tier,
            scopes=frozenset(record.scopes),
            key_id=record.id,
            until_ns=next_change_ns(record, now_ns),
        )

    async def _by_token(self, text: str) -> Principal | TokenFault:
        fingerprint = hashlib.sha256(text.encode()).digest()
        now_ns = self._clock.realtime_ns()
        held = self._verdicts.get(fingerprint)
        if held is not None and held.until_ns is not None and now_ns < held.until_ns:
            return held
        token = parse_token(text)
        if isinstance(token, TokenFault):
            return token
        issuer = self._issuers.get(str(token.claims.get("iss")))
        if issuer is None or token.claims.get("iss") != issuer.issuer:
            return TokenFault("unknown issuer")
        if token.alg not in issuer.algorithms:
            return TokenFault("the algorithm is not the issuer's")
        if not await self._is_signed(token, issuer):
            return TokenFault("no key verifies the signature")
        fault = claims_fault(token, issuer, now_ns=self._clock.realtime_ns())
        if fault is not None:
            return fault
        return self._remember(fingerprint, principal_of(token, issuer), token=token)

    async def _is_signed(self, token: Token, issuer: IssuerConfig) -> bool:
        signatures = self._signatures
        assert signatures is not None, "there is an issuer"
        if issuer.secret_env is not None:
            secret = self._secrets.get(issuer.secret_env, "").encode()
            if len(secret) < HMAC_BYTES_MIN[token.alg]:
                return False
            return signatures.verify(token, key=secret)
        if issuer.public_key is not None:
            key = signatures.pem_key(issuer.public_key, alg=token.alg)
        else:
            key = await self._key_sets.find(issuer, kid=token.kid, alg=token.alg)
        return key is not None and signatures.verify(token, key=key)

    def _remember(self, fingerprint: bytes, principal: Principal, *, token: Token) -> Principal:
        """Keep a positive verdict until the token expires, a minute at most."""
        exp = token.claims["exp"]
        assert isinstance(exp, (int, float))
        until_ns = min(int(exp * 1e9), self._clock.realtime_ns() + VERDICT_TTL_NS)
        verdict = msgspec.structs.replace(principal, until_ns=until_ns)
        self._verdicts[fingerprint] = verdict
        if len(self._verdicts) > VERDICTS_MAX:
            self._verdicts.popitem(last=False)
        return verdict

    def _challenge(self, fault: TokenFault) -> Problem:
        """Return the 401 for a credential that was sent and is no good."""
        text = "The credential has expired." if fault.expired else "The credential is not valid."
        return problem("invalid-token", text, headers=challenge(self._config, text))


def _signatures() -> Signatures:
    # Only gateways that know an issuer pay for the libraries behind this.
    from dohost.gateway.signatures import Signatures

    return Signatures()


def principal_of(token: Token, issuer: IssuerConfig) -> Principal:
    """Return whom a verified token speaks for; its tier counts only if the issuer is trusted so."""
    claims = token.claims
    tenant, tier = claims.get(issuer.tenant_claim), claims.get(issuer.tier_claim)
    scopes = claims.get(issuer.scope_claim)
    names = scopes.split(" ") if isinstance(scopes, str) else scopes
    granted = names if isinstance(names, list) else []
    subject = claims.get("sub")
    return Principal(
        kind="jwt",
        subject=subject if isinstance(subject, str) else None,
        tenant=tenant if isinstance(tenant, str) else None,
        tier=tier if issuer.tier_claim_trusted and isinstance(tier, str) else None,
        scopes=frozenset(name for name in granted if isinstance(name, str) and name),
        issuer=issuer.issuer,
        claims=claims,
    )


def earliest(one: int | None, other: int | None) -> int | None:
    """Return the earlier of two instants, either of which may be never."""
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def anonymous_policy(config: AuthConfig, *, has_runtime_keys: bool = False) -> Anonymous:
    """Return what callers without a credential may do."""
    if config.anonymous is not None:
        return config.anonymous
    return "none" if config.issuers or config.api_keys or has_runtime_keys else "all"


def authorise(
    principal: Principal,
    *,
    required: tuple[str, ...],
    method: str,
    config: AuthConfig,
    route_auth: Literal["default", "required", "none"] = "default",
) -> Problem | None:
    """Return the 401 or 403 that forbids the request, or `None`.

    Where keys may have been made at runtime, put `anonymous_policy(…)` into `config.anonymous` first.
    """
    if principal.kind == "anonymous":
        policy = anonymous_policy(config)
        allowed = policy == "all" or (policy == "read" and method in READS)
        if route_auth == "required" or required or not (allowed or route_auth == "none"):
            return problem("unauthenticated", headers=challenge(config, None))
        return None
    if principal.kind == "admin" or principal.has_scopes(required):
        return None
    missing = " ".join(sorted(set(required) - principal.scopes))
    field = (
        f'Bearer realm="{quoted(config.realm)}", error="insufficient_scope", '
        f'scope="{quoted(" ".join(required))}"'
    )
    return problem(
        "insufficient-scope",
        f"The credential lacks: {missing}.",
        headers=(("WWW-Authenticate", field),),
        scopes=list(required),
    )


def challenge(config: AuthConfig, error: str | None) -> tuple[tuple[str, str], ...]:
    """Return WWW-Authenticate (RFC 6750 §3); without a credential it names no error."""
    realm = quoted(config.realm)
    reason = (
        "" if error is None else f', error="invalid_token", error_description="{quoted(error)}"'
    )
    return (("WWW-Authenticate", f'Bearer realm="{realm}"{reason}, ApiKey realm="{realm}"'),)


def quoted(text: str) -> str:
    """Return text that may stand inside a quoted-string."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"')
