"""Signatures of JWTs: PyJWT's algorithms, with keys that have passed our own rules.

PyJWT verifies signatures here and nothing else; what a token says is checked in `jwt_checks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from jwt.algorithms import Algorithm, get_default_algorithms

from dohost.gateway.jwk import Jwk, choose, parse_jwk
from dohost.gateway.jwt_checks import Token

# How PyJWT and what it stands on refuse a key.
UNUSABLE = (jwt.InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError)


class Signatures:
    """Verifies what issuers have signed."""

    def __init__(self) -> None:
        self._algorithms: Mapping[str, Algorithm] = get_default_algorithms()

    def verify(self, token: Token, *, key: Jwk | bytes) -> bool:
        """True if the signature is the key's; material that PyJWT refuses verifies nothing."""
        algorithm = self._algorithms[token.alg]
        try:
            prepared = (
                algorithm.prepare_key(key)
                if isinstance(key, bytes)
                else algorithm.from_jwk(dict(key.material))
            )
            return bool(algorithm.verify(token.signed, prepared, token.signature))
        except UNUSABLE:
            return False

    def pem_key(self, pem: str, *, alg: str) -> Jwk | None:
        """Return a PEM key as a JWK, so that it passes the same rules as any other."""
        algorithm = self._algorithms[alg]
        try:
            material = algorithm.to_jwk(algorithm.prepare_key(pem), as_dict=True)
        except UNUSABLE:
            return None
        key = parse_jwk({**material, "key_ops": None})
        return None if key is None else choose([key], kid=None, alg=alg)
