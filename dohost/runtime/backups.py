"""What a running backup is about, as the process that takes it and the command line tell each other."""

from __future__ import annotations

import msgspec


class BackupItem(msgspec.Struct, frozen=True, kw_only=True):
    """One object that a backup will copy."""

    unique_key: str
    object_id: str


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A cut that was taken: its number, and what is to be copied."""

    number: int
    items: tuple[BackupItem, ...]
