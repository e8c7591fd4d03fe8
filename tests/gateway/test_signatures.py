"""Signatures: the examples of RFC 7515 and 8037, and what must not verify (CVE-2022-21449 and its kin)."""

from __future__ import annotations

import base64
import itertools

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from dohost.gateway.jwk import Jwk, parse_jwk
from dohost.gateway.jwt_checks import Token, TokenFault, parse_token, strict_base64url
from dohost.gateway.signatures import Signatures

# Both tokens of RFC 7515 have these claims.
CLAIMS = (
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)
HS256 = (
    f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
HS256_KEY = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
ES256 = (
    f"eyJhbGciOiJFUzI1NiJ9.{CLAIMS}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
ES256_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
ED25519_SIGNED = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
ED25519_SIGNATURE = (
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)
ED25519_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
CURVES = [
    ("ES256", ec.SECP256R1(), hashes.SHA256(), 32),
    ("ES384", ec.SECP384R1(), hashes.SHA384(), 48),
    ("ES512", ec.SECP521R1(), hashes.SHA512(), 66),
]
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def verifies(alg: str, key: Jwk | bytes | None, signature: bytes, signed: bytes = b"a.b") -> bool:
    assert key is not None
    token = Token(alg=alg, kid=None, typ=None, claims={}, signed=signed, signature=signature)
    return Signatures().verify(token, key=key)


def raw(text: str) -> bytes:
    found = strict_base64url(text)
    assert found is not None
    return found


def test_the_examples_of_the_rfcs_verify() -> None:
    for text, key in ((HS256, raw(HS256_KEY)), (ES256, parse_jwk(ES256_KEY))):
        token = parse_token(text)
        assert isinstance(token, Token)
        assert token.claims["iss"] == "joe"
        assert verifies(token.alg, key, token.signature, token.signed)
        assert not verifies(token.alg, key, token.signature, token.signed + b"x")
    assert verifies("EdDSA", parse_jwk(ED25519_KEY), raw(ED25519_SIGNATURE), signed=ED25519_SIGNED)
    assert isinstance(parse_token(f"eyJhbGciOiJub25lIn0.{CLAIMS}."), TokenFault)


def ec_jwk(key: ec.EllipticCurvePublicKey, size: int) -> Jwk | None:
    numbers, name = key.public_numbers(), f"P-{key.curve.key_size}"
    x, y = (b64(part.to_bytes(size, "big")) for part in (numbers.x, numbers.y))
    return parse_jwk({"kty": "EC", "crv": name, "x": x, "y": y})


@pytest.mark.parametrize(("alg", "curve", "digest", "size"), CURVES)
def test_an_ecdsa_signature_is_two_numbers_in_range(
    alg: str, curve: ec.EllipticCurve, digest: hashes.HashAlgorithm, size: int
) -> None:
    secret = ec.generate_private_key(curve)
    key = ec_jwk(secret.public_key(), size)
    der = secret.sign(b"a.b", ec.ECDSA(digest))
    r, s = (part.to_bytes(size, "big") for part in decode_dss_signature(der))
    assert verifies(alg, key, r + s)
    zero, one, most = bytes(size), (1).to_bytes(size, "big"), b"\xff" * size
    for pair in itertools.product((r, zero, one, most), (s, zero, one, most)):
        assert verifies(alg, key, b"".join(pair)) == (pair == (r, s))
    for wrong in (
        der,
        s + r,
        r,
        b"",
        r + s + b"\0",
        b"\0" + r + s,
        b"\0" + r + b"\0" + s,
        (r + s)[1:],
    ):
        assert not verifies(alg, key, wrong)
    if alg == "ES256":
        order = P256_ORDER.to_bytes(size, "big")
        assert not verifies(alg, key, order + order)


def test_a_point_off_the_curve_is_no_key() -> None:
    x, y = raw(ES256_KEY["x"]), raw(ES256_KEY["y"])
    for wrong in (y[:-1] + b"\0", bytes(32), b"\xff" * 32):
        key = parse_jwk({**ES256_KEY, "x": b64(x), "y": b64(wrong)})
        assert key is None or not verifies("ES256", key, raw(ES256.rpartition(".")[2]))


def test_an_ed25519_signature_has_one_form() -> None:
    secret = ed25519.Ed25519PrivateKey.generate()
    key = parse_jwk({**ED25519_KEY, "x": b64(secret.public_key().public_bytes_raw())})
    good = secret.sign(b"a.b")
    assert verifies("EdDSA", key, good)
    scalar = int.from_bytes(good[32:], "little") + ED25519_ORDER
    malleated = good[:32] + scalar.to_bytes(32, "little")
    for wrong in (malleated, bytes(64), b"\1" + bytes(63), good[:-1], good + b"\0", b""):
        assert not verifies("EdDSA", key, wrong)


def test_an_rsa_signature_has_the_algorithms_padding_digest_and_length() -> None:
    secret = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    n = secret.public_key().public_numbers().n
    key = parse_jwk({"kty": "RSA", "n": b64(n.to_bytes(256, "big")), "e": "AQAB"})
    pkcs1 = padding.PKCS1v15()
    good = secret.sign(b"a.b", pkcs1, hashes.SHA256())
    assert verifies("RS256", key, good)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    for wrong in (
        secret.sign(b"a.b", pss, hashes.SHA256()),
        secret.sign(b"a.b", pkcs1, hashes.SHA1()),
        secret.sign(b"a.b", pkcs1, hashes.SHA512()),
        *(value.to_bytes(256, "big") for value in (0, 1, n - 1, n)),
        b"\0" + good,
        good + b"\0",
        good[1:],
        b"",
    ):
        assert not verifies("RS256", key, wrong)


# On secp112r1, which the library behind PyJWT does not know.
ODD_PEM = """-----BEGIN PUBLIC KEY-----
MDIwEAYHKoZIzj0CAQYFK4EEAAYDHgAE0+M4L4bfu7F8FgYIfSIyXH8e8TR9KEfK
A1kjpA==
-----END PUBLIC KEY-----
"""


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_a_key_on_an_unknown_curve_is_no_key(alg: str) -> None:
    assert Signatures().pem_key(ODD_PEM, alg=alg) is None
