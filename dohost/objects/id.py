"""Ids of Durable Objects, equal to the ones that `wrangler dev` derives.

An id is 16 bytes that name the object followed by 16 bytes that prove which namespace they belong to,
both HMAC-SHA256 under a key made of the namespace's unique key (`<worker>-<Class>`). So ids need no
registry, two classes never share one, and a file is found under the same name by both programs.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from dohost.clock import Entropy
from dohost.errors import JsException, JsTypeError
from dohost.memo import Memo
from dohost.storage.coercion import text_of

NAME_KEPT_BYTES_MAX = 1024
NAMES_MEMOISED_MAX = 8192


class DurableObjectId:
    """One object's id; `name` is set only where it was derived from a name."""

    __slots__ = ("_hex", "name")

    def __init__(self, hex_digits: str, *, name: str | None = None) -> None:
        self._hex = hex_digits
        self.name = name

    jurisdiction: str | None = None

    def toString(self) -> str:
        """Return the 64 lower-case hex digits."""
        return self._hex

    def inside(self) -> DurableObjectId:
        """Return the id as its object sees it: without its name if that is long."""
        name = self.name
        if name is None or len(name.encode("utf-8", "surrogatepass")) <= NAME_KEPT_BYTES_MAX:
            return self
        return DurableObjectId(self._hex)

    def equals(self, other: object) -> bool:
        """Return whether `other` is the id of the same object."""
        return isinstance(other, DurableObjectId) and other._hex == self._hex

    def __str__(self) -> str:
        return self._hex

    def __repr__(self) -> str:
        return (
            f"DurableObjectId({self._hex})"
            if self.name is None
            else f"DurableObjectId({self.name!r})"
        )

    def __eq__(self, other: object) -> bool:
        return self.equals(other)

    def __hash__(self) -> int:
        return hash(self._hex)


class IdFactory:
    """Makes and checks the ids of one namespace."""

    def __init__(self, unique_key: str, entropy: Entropy) -> None:
        self._key = sha256(unique_key.encode()).digest()
        self._entropy = entropy
        # Two HMACs cost more than a whole in-process call; most calls go to few names.
        self._by_name: Memo[DurableObjectId] = Memo(entries_max=NAMES_MEMOISED_MAX)

    def from_name(self, name: str) -> DurableObjectId:
        """Derive the id of `name`; the same name always gives the same id."""
        if not isinstance(name, str):
            name = text_of(name, "The name of an object")
        known = self._by_name.get(name)
        if known is None:
            known = self._derive(name)
            self._by_name.put(name, known)
        return known

    def _derive(self, name: str) -> DurableObjectId:
        return DurableObjectId(
            self._complete(self._mac(name.encode("utf-8", "surrogatepass"))), name=name
        )

    def unique(self) -> DurableObjectId:
        """Make a new random id."""
        return DurableObjectId(self._complete(self._entropy.token(16)))

    def from_string(self, text: str) -> DurableObjectId:
        """Parse what `toString()` gave; refuse ids of other namespaces."""
        try:
            raw = bytes.fromhex(text) if len(text) == 64 and text.isalnum() else b""
        except (ValueError, TypeError):
            raw = b""
        if len(raw) != 32:
            raise JsTypeError("Invalid Durable Object ID: must be 64 hex digits")
        if not hmac.compare_digest(raw[16:], self._mac(raw[:16])):
            raise JsTypeError("Durable Object ID is not valid for this namespace.")
        return DurableObjectId(raw.hex())

    def _mac(self, message: bytes) -> bytes:
        return hmac.digest(self._key, message, "sha256")[:16]

    def _complete(self, base: bytes) -> str:
        return (base + self._mac(base)).hex()


def refuse_jurisdiction(jurisdiction: object) -> None:
    """Refuse what only Cloudflare's network can promise."""
    if jurisdiction is not None:
        raise JsException("Jurisdiction restrictions are not implemented in workerd.")
