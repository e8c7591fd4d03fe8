"""JSON Web Keys, strictly (RFC 7517, 7518): only public keys that are strong, meant for verifying, and
unambiguously named are of any use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

from msgspec import Struct

from dohost.gateway.jwt_checks import strict_base64url
from dohost.gateway.strict_json import strict_object

JWKS_BYTES_MAX = 262_144
KEYS_MAX = 100
RSA_BITS_MIN, RSA_BITS_MAX = 2_048, 16_384
FITS = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
# What only the owner may know; a key that shows any of it is nobody's any more.
PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# The y coordinates of the points of small order (RFC 8032 §5.1): under such a key anybody can sign.
ED25519_PRIME = 2**255 - 19
ED25519_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
ED25519_WEAK = frozenset(
    {0, 1, ED25519_PRIME - 1, ED25519_ORDER_8, ED25519_PRIME - ED25519_ORDER_8}
)
CURVES = {crv for _, crv in FITS.values() if crv is not None}


class Jwk(Struct, frozen=True, kw_only=True):
    """One usable public key; `material` is the JWK's own members."""

    kid: str | None
    kty: str
    alg: str | None
    crv: str | None
    material: Mapping[str, str]


def parse_jwks(body: bytes) -> tuple[Jwk, ...] | str:
    """Return the usable keys of a document, or why it is refused.

    Of keys that share a `kid` none is used: nobody can say which one is meant.
    """
    if len(body) > JWKS_BYTES_MAX:
        return "larger than 256 KiB"
    document = strict_object(body)
    entries = None if document is None else document.get("keys")
    if not isinstance(entries, list):
        return "not an unambiguous JSON object with a list of keys"
    if len(entries) > KEYS_MAX:
        return f"more than {KEYS_MAX} keys"
    keys = [parse_jwk(entry) for entry in entries]
    usable = [key for key in keys if key is not None]
    kids = Counter(
        entry.get("kid")
        for entry in entries
        if isinstance(entry, dict) and is_text(entry.get("kid"))
    )
    return tuple(key for key in usable if key.kid is None or kids[key.kid] == 1)


def parse_jwk(entry: object) -> Jwk | None:
    """Return a usable public key, or `None`."""
    if not isinstance(entry, dict):
        return None
    kty, crv = entry.get("kty"), entry.get("crv")
    if not isinstance(kty, str) or kty not in MEMBERS or not is_for_verifying(entry):
        return None
    material = {name: entry.get(name) for name in MEMBERS[kty]}
    if not all(is_text(value) for value in material.values()):
        return None
    if kty == "RSA":
        if not is_strong_rsa(cast("str", material["n"]), cast("str", material["e"])):
            return None
    elif crv not in CURVES or (kty == "OKP" and not is_strong_ed25519(cast("str", material["x"]))):
        return None
    return Jwk(
        kid=cast("str | None", entry.get("kid")),
        kty=kty,
        alg=cast("str | None", entry.get("alg")),
        crv=crv if isinstance(crv, str) and kty != "RSA" else None,
        material={"kty": kty, **cast("dict[str, str]", material)},
    )


def is_for_verifying(entry: Mapping[str, object]) -> bool:
    """True if `use`, `key_ops`, `kid` and `alg` allow it and no private part is given away."""
    operations = entry.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return False
    named = all(entry.get(name) is None or is_text(entry[name]) for name in ("kid", "alg"))
    return named and entry.get("use") in (None, "sig") and not PRIVATE & entry.keys()


def is_strong_rsa(modulus: str, exponent: str) -> bool:
    """True for 2,048 bits or more, and an odd exponent of at least 3."""
    n, e = strict_base64url(modulus), strict_base64url(exponent)
    if n is None or e is None or len(e) > 8:
        return False
    value = int.from_bytes(e, "big")
    bits = int.from_bytes(n, "big").bit_length()
    return RSA_BITS_MIN <= bits <= RSA_BITS_MAX and value >= 3 and value % 2 == 1


def is_strong_ed25519(point: str) -> bool:
    """True for 32 bytes that are no point of small order."""
    x = strict_base64url(point)
    if x is None or len(x) != 32:
        return False
    return (int.from_bytes(x, "little") % 2**255) % ED25519_PRIME not in ED25519_WEAK


def choose(keys: Sequence[Jwk], *, kid: str | None, alg: str) -> Jwk | None:
    """Return the key that a token means: by exact `kid`, or the only one that fits."""
    fitting = [key for key in keys if fits(key, alg) and (kid is None or key.kid == kid)]
    return fitting[0] if len(fitting) == 1 else None


def fits(key: Jwk, alg: str) -> bool:
    """True if key type, curve and the key's own `alg` fit the algorithm."""
    return FITS.get(alg) == (key.kty, key.crv) and key.alg in (None, alg)


def is_text(value: object) -> bool:
    """True for a string that isn't empty."""
    return isinstance(value, str) and value != ""
