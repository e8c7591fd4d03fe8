"""API keys: `dd_<env>_<keyid>_<secret><check>`; 256 random bits, known to us by digest only.

The check is a CRC of what precedes it, so a typing error costs no look-up and a secret scanner can tell
a key from noise. A key is found by its id and compared by digest in constant time; an unknown id is
compared with a dummy, so that a miss takes as long. A fast hash is right for a random secret of this
size, and a slow one would be a way to exhaust us. Records are values; creating, rotating and revoking
are pure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib

import msgspec
from msgspec import Struct

from dohost.clock import Entropy
from dohost.gateway.config_tables import ApiKeyConfig

FORM = re.compile(r"(dd_([a-z0-9]{1,16})_([a-z0-9]{4,32})_([A-Za-z0-9_-]{43}))([0-9A-Za-z]{6})")
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
DUMMY_DIGEST = "0" * 64


class KeyRecord(Struct, frozen=True, kw_only=True):
    """What is stored about a key; digests are hex SHA-256 of the whole key, or HMAC with the pepper."""

    id: str
    digest: str
    tenant: str
    tier: str | None = None
    scopes: tuple[str, ...] = ()
    label: str = ""
    created_ns: int = 0
    expires_ns: int | None = None
    last_used_ns: int | None = None
    disabled: bool = False
    old_digest: str | None = None
    old_until_ns: int | None = None
    read_only: bool = False

    def public(self) -> dict[str, object]:
        """Return what a list of keys may show: no digest, so that nothing can be guessed offline."""
        return {
            "id": self.id,
            "tenant": self.tenant,
            "tier": self.tier,
            "scopes": list(self.scopes),
            "label": self.label,
            "createdAt": millis(self.created_ns),
            "expiresAt": millis(self.expires_ns),
            "lastUsed": millis(self.last_used_ns),
            "disabled": self.disabled,
            "rotatingUntil": millis(self.old_until_ns),
            "readOnly": self.read_only,
        }


class ParsedKey(Struct, frozen=True, kw_only=True):
    """A well-formed key as presented; it has no repr of its secret."""

    env: str
    id: str
    text: str

    def __repr__(self) -> str:
        return f"<ParsedKey {self.id}>"


class NewKey(Struct, frozen=True, kw_only=True):
    """The key to show once, and the record to keep."""

    text: str
    record: KeyRecord

    def __repr__(self) -> str:
        return f"<NewKey {self.record.id}>"


class KeyGrant(Struct, frozen=True, kw_only=True):
    """To whom a new key is given."""

    tenant: str
    tier: str | None = None
    scopes: tuple[str, ...] = ()
    label: str = ""
    expires_ns: int | None = None


def parse_key(text: str) -> ParsedKey | None:
    """Return the parts of a key whose form and checksum are right."""
    found = FORM.fullmatch(text)
    if found is None or checksum(found.group(1)) != found.group(5):
        return None
    return ParsedKey(env=found.group(2), id=found.group(3), text=text)


def create_key(
    grant: KeyGrant, *, env: str, pepper: str | None, entropy: Entropy, now_ns: int
) -> NewKey:
    """Make a key."""
    key_id = entropy.token(8).hex()
    text = key_text(env, key_id, entropy=entropy)
    record = KeyRecord(
        id=key_id,
        digest=digest_of(text, pepper),
        tenant=grant.tenant,
        tier=grant.tier,
        scopes=grant.scopes,
        label=grant.label,
        created_ns=now_ns,
        expires_ns=grant.expires_ns,
    )
    return NewKey(text=text, record=record)


def rotate_key(
    record: KeyRecord, *, env: str, pepper: str | None, entropy: Entropy, grace_until_ns: int
) -> NewKey | str:
    """Give a key a new secret; the old one works until `grace_until_ns`. A string says why not."""
    if record.read_only:
        return "the key is in the configuration; change it there."
    if record.disabled:
        return "the key is revoked."
    text = key_text(env, record.id, entropy=entropy)
    rotated = msgspec.structs.replace(
        record,
        digest=digest_of(text, pepper),
        old_digest=record.digest,
        old_until_ns=grace_until_ns,
    )
    return NewKey(text=text, record=rotated)


def revoke_key(record: KeyRecord) -> KeyRecord | str:
    """Return the record of a key that no longer works, neither its old secret. A string says why
    not."""
    if record.read_only:
        return "the key is in the configuration; change it there."
    return msgspec.structs.replace(record, disabled=True, old_digest=None, old_until_ns=None)


def verify_key(
    parsed: ParsedKey, record: KeyRecord | None, *, pepper: str | None, now_ns: int
) -> bool:
    """True if the key is good now; does the same work for a record of `None`."""
    presented = digest_of(parsed.text, pepper).encode()
    current = DUMMY_DIGEST if record is None else record.digest
    old = (record.old_digest if record is not None else None) or DUMMY_DIGEST
    is_current = hmac.compare_digest(presented, current.encode())
    is_old = hmac.compare_digest(presented, old.encode())
    if record is None or record.id != parsed.id or record.disabled:
        return False
    if record.expires_ns is not None and now_ns >= record.expires_ns:
        return False
    in_grace = record.old_until_ns is not None and now_ns < record.old_until_ns
    return is_current or (is_old and in_grace and record.old_digest is not None)


def next_change_ns(record: KeyRecord, now_ns: int) -> int | None:
    """Return when a good key, or its old secret, stops working; None if only a person can end it."""
    ends = [each for each in (record.expires_ns, record.old_until_ns) if each and each > now_ns]
    return min(ends, default=None)


def configured_key(config: ApiKeyConfig) -> KeyRecord:
    """Return the record of a key in the configuration: read-only."""
    expires_s = config.expires_at_s
    return KeyRecord(
        id=config.id,
        digest=config.hash,
        tenant=config.tenant,
        tier=config.tier,
        scopes=config.scopes,
        expires_ns=None if expires_s is None else expires_s * 1_000_000_000,
        disabled=config.disabled,
        read_only=True,
    )


def digest_of(text: str, pepper: str | None) -> str:
    """Return what is stored of a key."""
    if pepper is None:
        return hashlib.sha256(text.encode()).hexdigest()
    return hmac.new(pepper.encode(), text.encode(), hashlib.sha256).hexdigest()


def key_text(env: str, key_id: str, *, entropy: Entropy) -> str:
    """Return a new key."""
    secret = base64.urlsafe_b64encode(entropy.token(32)).rstrip(b"=").decode()
    body = f"dd_{env}_{key_id}_{secret}"
    return body + checksum(body)


def checksum(body: str) -> str:
    """Return six base-62 digits of the CRC-32."""
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = ALPHABET[digit] + digits
    return digits


def millis(instant_ns: int | None) -> int | None:
    """Return an instant in epoch milliseconds."""
    return None if instant_ns is None else instant_ns // 1_000_000
