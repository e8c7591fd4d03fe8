"""API keys: form, life, and what is kept of them."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohost.clock import SeededEntropy
from dohost.gateway.api_keys import (
    KeyGrant,
    KeyRecord,
    NewKey,
    create_key,
    digest_of,
    parse_key,
    revoke_key,
    rotate_key,
    verify_key,
)

NOW = 1_790_000_000_000_000_000
HOUR = 3_600_000_000_000
GRANT = KeyGrant(tenant="acme", tier="pro", scopes=("a",), label="ci", expires_ns=NOW + HOUR)


def made(seed: int = 1) -> NewKey:
    return create_key(GRANT, env="live", pepper="p", entropy=SeededEntropy(seed), now_ns=NOW)


def works(text: str, record: KeyRecord | None, *, now_ns: int = NOW, pepper: str = "p") -> bool:
    parsed = parse_key(text)
    assert parsed is not None
    return verify_key(parsed, record, pepper=pepper, now_ns=now_ns)


def test_a_key_has_its_published_form_and_carries_256_bits() -> None:
    key = made()
    prefix, env, key_id, secret = key.text.split("_", 3)
    assert (prefix, env, key_id) == ("dd", "live", key.record.id)
    assert len(secret) == 43 + 6
    parsed = parse_key(key.text)
    assert parsed is not None
    assert key.text not in repr(parsed) + repr(key)


@given(seed=st.integers(0, 10**6), position=st.integers(3, 70))
def test_one_wrong_character_is_noticed_without_a_look_up(seed: int, position: int) -> None:
    text = made(seed).text
    position = min(position, len(text) - 1)
    swapped = "A" if text[position] != "A" else "B"
    assert parse_key(text[:position] + swapped + text[position + 1 :]) is None


def test_only_a_digest_is_kept_and_lists_show_none() -> None:
    key = made()
    assert key.text not in str(msgspec.to_builtins(key.record))
    assert key.record.digest == digest_of(key.text, "p")
    assert digest_of(key.text, None) == hashlib.sha256(key.text.encode()).hexdigest()
    assert key.record.digest not in str(key.record.public())
    assert key.record.public()["createdAt"] == NOW // 1_000_000


def test_a_key_works_until_it_expires() -> None:
    key = made()
    assert works(key.text, key.record)
    assert works(key.text, key.record, now_ns=NOW + HOUR - 1)
    assert not works(key.text, key.record, now_ns=NOW + HOUR)


def test_another_key_another_pepper_and_a_miss_are_refused() -> None:
    key, other = made(1), made(2)
    assert not works(other.text, key.record)
    assert not works(key.text, key.record, pepper="q")
    assert not works(key.text, None)
    stolen = msgspec.structs.replace(key.record, id=other.record.id)
    assert not works(key.text, stolen)


def test_a_record_with_the_dummy_digest_lets_nobody_in() -> None:
    key = made()
    empty = msgspec.structs.replace(key.record, old_digest=None, old_until_ns=NOW + HOUR)
    assert not works(made(2).text, msgspec.structs.replace(empty, id=made(2).record.id))


def test_after_a_rotation_both_secrets_work_through_the_grace() -> None:
    key = made()
    rotated = rotate_key(
        key.record, env="live", pepper="p", entropy=SeededEntropy(9), grace_until_ns=NOW + 10
    )
    assert isinstance(rotated, NewKey)
    assert works(rotated.text, rotated.record)
    assert works(key.text, rotated.record, now_ns=NOW + 9)
    assert not works(key.text, rotated.record, now_ns=NOW + 10)
    assert rotated.record.id == key.record.id


def test_revoking_is_immediate_for_old_and_new() -> None:
    key = made()
    rotated = rotate_key(
        key.record, env="live", pepper="p", entropy=SeededEntropy(9), grace_until_ns=NOW + 10
    )
    assert isinstance(rotated, NewKey)
    revoked = revoke_key(rotated.record)
    assert isinstance(revoked, KeyRecord)
    assert not works(rotated.text, revoked)
    assert not works(key.text, revoked)
    again = rotate_key(
        revoked, env="live", pepper="p", entropy=SeededEntropy(3), grace_until_ns=NOW
    )
    assert again == "the key is revoked."


def test_keys_of_the_configuration_are_read_only() -> None:
    fixed = msgspec.structs.replace(made().record, read_only=True)
    assert isinstance(revoke_key(fixed), str)
    entropy = SeededEntropy(1)
    assert isinstance(
        rotate_key(fixed, env="live", pepper=None, entropy=entropy, grace_until_ns=0), str
    )


@pytest.mark.parametrize(
    "text", ["", "dd_", "DD_live_0123_x", made().text + "x", " " + made().text]
)
def test_what_is_no_key_is_no_key(text: str) -> None:
    assert parse_key(text) is None
