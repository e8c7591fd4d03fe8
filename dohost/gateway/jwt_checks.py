"""JWTs before and after the signature: form and claims, strictly (RFC 7515, 7519, 8725, 9068).

Libraries accept padded base64, duplicate members and unknown `crit`; each is a way to make two readers
see two tokens, so they are refused here before any key is looked for. Reasons are for logs and tests;
clients only hear "expired" or "invalid".
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping

from msgspec import Struct

from dohost.gateway.config_tables import IssuerConfig
from dohost.gateway.strict_json import strict_object

TOKEN_BYTES_MAX = 8_192
KID_MAX = 256
# 9999-12-31; a later date is an error or an attempt at a token for ever.
DATE_MAX = 253_402_300_799
BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class TokenFault(Struct, frozen=True):
    """Why a token is refused."""

    reason: str
    expired: bool = False


class Token(Struct, frozen=True, kw_only=True):
    """A well-formed token whose signature is yet to be verified."""

    alg: str
    kid: str | None
    typ: str | None
    claims: dict[str, object]
    signed: bytes
    signature: bytes


def parse_token(text: str) -> Token | TokenFault:
    """Return the parts of a compact JWS, believing nothing in it."""
    if len(text) > TOKEN_BYTES_MAX:
        return TokenFault("longer than 8 KiB")
    parts = text.split(".")
    if len(parts) != 3:
        return TokenFault("not three parts")
    decoded = [strict_base64url(part) for part in parts]
    head, body, signature = decoded
    if head is None or body is None or signature is None:
        return TokenFault("not unpadded base64url")
    header, claims = strict_object(head), strict_object(body)
    if header is None or claims is None:
        return TokenFault("not unambiguous JSON objects")
    fault = header_fault(header) or text_fault(claims)
    if fault is not None:
        return fault
    alg, kid, typ = header["alg"], header.get("kid"), header.get("typ")
    assert isinstance(alg, str)
    return Token(
        alg=alg,
        kid=kid if isinstance(kid, str) else None,
        typ=typ if isinstance(typ, str) else None,
        claims=claims,
        signed=text.rpartition(".")[0].encode(),
        signature=signature,
    )


def text_fault(claims: Mapping[str, object]) -> TokenFault | None:
    """Return the fault of text that no encoding can carry on: lone surrogates."""
    try:
        json.dumps(claims, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return TokenFault("text that is not Unicode")
    return None


def strict_base64url(text: str) -> bytes | None:
    """Return the bytes of unpadded, canonical base64url."""
    if not BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        return None
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # Unused bits must be zero, or many texts would be one token.
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text else None


def header_fault(header: dict[str, object]) -> TokenFault | None:
    """Return what is wrong with a JOSE header; `jku`, `jwk`, `x5u` and `x5c` are never looked at."""
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(alg, str) or alg.lower() == "none":
        return TokenFault("no algorithm")
    if "crit" in header:
        return TokenFault("crit: no extension is understood")
    if "b64" in header:
        return TokenFault("b64 is not supported")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= KID_MAX):
        return TokenFault("kid is not a short string")
    if typ is not None and not isinstance(typ, str):
        return TokenFault("typ is not a string")
    return None


def claims_fault(token: Token, issuer: IssuerConfig, *, now_ns: int) -> TokenFault | None:
    """Return what is wrong with the claims of a token whose signature is good."""
    claims, now = token.claims, now_ns / 1e9
    for name in ("exp", "nbf", "iat"):
        if name in claims and date_of(claims[name]) is None:
            return TokenFault(f"{name} is not a date")
    if not isinstance(claims.get(issuer.tenant_claim, ""), str):
        return TokenFault("the tenant is not text")
    exp, nbf, iat = (date_of(claims.get(name)) for name in ("exp", "nbf", "iat"))
    if exp is None:
        return TokenFault("exp is missing")
    if now >= exp + issuer.leeway_s:
        return TokenFault("expired", expired=True)
    if nbf is not None and now < nbf - issuer.leeway_s:
        return TokenFault("not valid yet")
    if iat is not None and now < iat - issuer.leeway_s:
        return TokenFault("issued in the future")
    if issuer.max_age_s is not None:
        if iat is None:
            return TokenFault("iat is missing")
        if now >= iat + issuer.max_age_s + issuer.leeway_s:
            return TokenFault("older than the issuer's max_age_s", expired=True)
    return names_fault(token, issuer)


def names_fault(token: Token, issuer: IssuerConfig) -> TokenFault | None:
    """Return what is wrong with issuer, audience, subject, type and id."""
    claims = token.claims
    if claims.get("iss") != issuer.issuer:
        return TokenFault("iss is another")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not all(isinstance(name, str) for name in named) or not set(named) & set(issuer.audience):
        return TokenFault("aud is another")
    if "sub" in claims and not isinstance(claims["sub"], str):
        return TokenFault("sub is not a string")
    if "jti" in claims and not isinstance(claims["jti"], str):
        return TokenFault("jti is not a string")
    if claims.get("jti") in issuer.jti_denied:
        return TokenFault("jti is denied")
    if issuer.typ is not None and media_type(token.typ) != media_type(issuer.typ):
        return TokenFault("typ is another")
    return None


def media_type(typ: str | None) -> str | None:
    """Return a `typ` without its optional "application/" (RFC 7515 §4.1.9)."""
    return None if typ is None else typ.lower().removeprefix("application/")


def date_of(value: object) -> float | None:
    """Return a NumericDate; `None` for strings, booleans, infinities and dates past year 9999."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if 0 <= value <= DATE_MAX else None
