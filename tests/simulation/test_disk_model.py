"""The model of the disk: what is certain after a sync, and what may be there without one."""

from __future__ import annotations

import random

from tests.simulation.disk_model import Disk, Fate, File
from tests.simulation.disk_trace import (
    Created,
    Left,
    Linked,
    Removed,
    Renamed,
    SyncBegan,
    SyncEnded,
    Truncated,
    Wrote,
    effects,
)

ANY = random.Random(5)


def disk(*happened) -> Disk:
    made = Disk(ANY)
    for effect in happened:
        made.take(effect)
    return made


def states(of: Disk, fate: Fate = Fate.kept) -> set[tuple[tuple[str, bytes], ...]]:
    return {
        tuple(
            sorted((path, file.image(fate, ANY)) for path, file in of.after_power_cut(ANY).items())
        )
        for _ in range(60)
    }


def test_a_synced_file_without_a_synced_entry_may_be_gone() -> None:
    made = disk(Created("/d/f"), Wrote("/d/f", 0, b"x"), SyncBegan("/d/f", 1), SyncEnded("/d/f", 1))
    assert states(made) == {(), (("/d/f", b"x"),)}
    for effect in (SyncBegan("/d", 2), SyncEnded("/d", 2)):
        made.take(effect)
    assert states(made, Fate.dropped) == {(("/d/f", b"x"),)}
    assert not made.is_uncertain()


def test_a_file_in_a_directory_that_is_gone_is_gone() -> None:
    made = disk(
        Created("/d/e"),
        Created("/d/e/f"),
        SyncBegan("/d/e", 1),
        SyncEnded("/d/e", 1),
    )
    assert states(made) == {(), (("/d/e", b""), ("/d/e/f", b""))}


def test_a_sync_promises_only_what_was_written_before_it_began() -> None:
    file = (
        disk(
            Created("/f"),
            Wrote("/f", 0, b"one"),
            SyncBegan("/f", 1),
            SyncBegan("/f", 2),
            Wrote("/f", 0, b"two"),
            SyncEnded("/f", 2),
            SyncEnded("/f", 1),
        )
        .entries["/f"]
        .latest()
    )
    assert file is not None
    assert file.image(Fate.dropped, ANY) == b"one"
    assert file.image(Fate.kept, ANY) == b"two"


def test_unsynced_writes_are_torn_at_sectors_and_nowhere_else() -> None:
    file = File()
    file.pending.append(Wrote("/f", 500, b"a" * 600))
    seen = {file.image(Fate.torn, ANY) for _ in range(200)}
    for content in seen:
        assert {content[500:512], content[512:1024]} <= {
            b"",
            bytes(12),
            b"a" * 12,
            b"a" * 512,
            bytes(512),
        }
    assert len(seen) > 4


def test_junk_and_zeros_harm_only_what_was_not_synced() -> None:
    file = File()
    file.pending.append(Wrote("/f", 0, b"certain!"))
    file.promise(1)
    file.pending.append(Wrote("/f", 8, b"perhaps"))
    for fate in (Fate.zeros, Fate.junk):
        seen = {file.image(fate, ANY) for _ in range(50)}
        assert all(content.startswith(b"certain!") for content in seen)
        assert len(seen) > 1


def test_removing_truncating_and_renaming_wait_for_the_directory() -> None:
    made = disk(
        Created("/d/f"),
        Wrote("/d/f", 0, b"long"),
        Truncated("/d/f", 2),
        SyncBegan("/d/f", 1),
        SyncEnded("/d/f", 1),
        SyncBegan("/d", 2),
        SyncEnded("/d", 2),
        Renamed("/d/f", "/d/g"),
    )
    assert (("/d/f", b"lo"),) in states(made)
    assert (("/d/g", b"lo"),) in states(made)
    made.take(Removed("/d/g"))
    assert () in states(made)


def test_a_second_name_keeps_a_file_whose_first_one_goes() -> None:
    made = disk(
        Created("/d/f"),
        Wrote("/d/f", 0, b"ab"),
        SyncBegan("/d/f", 1),
        SyncEnded("/d/f", 1),
        Linked("/d/f", "/d/g"),
        Removed("/d/f"),
        SyncBegan("/d", 2),
        SyncEnded("/d", 2),
    )
    assert states(made) == {(("/d/g", b"ab"),)}


def test_a_trace_becomes_effects() -> None:
    def hexed(text: str) -> str:
        return "".join(f"\\x{byte:02x}" for byte in text.encode())

    lines = [
        f'7 openat(AT_FDCWD<{hexed("/")}>, "{hexed("/r/f")}", O_RDWR|O_CREAT, 0600) = 5<{hexed("/r/f")}>',
        f'7 write(5<{hexed("/r/f")}>, "{hexed("ab")}", 2) = 2',
        f'7 write(5<{hexed("/r/f")}>, "{hexed("c")}", 1) = 1',
        f"8 fdatasync(5<{hexed('/r/f')}> <unfinished ...>",
        f'7 pwrite64(5<{hexed("/r/f")}>, "{hexed("z")}", 1, 9 <unfinished ...>',
        "8 <... fdatasync resumed>)             = 0",
        "7 <... pwrite64 resumed>)              = 1",
        f'7 write(6<{hexed("/r/acks")}>, "{hexed("3 1")}", 3) = 3',
        f'7 write(1<{hexed("/elsewhere")}>, "{hexed("3 1")}", 3) = 3',
        f"7 fsync(5<{hexed('/r/f')}>) = -1 EIO (Input/output error)",
        f"7 ftruncate(5<{hexed('/r/f')}>, 0) = 0",
        f'7 link("{hexed("/r/f")}", "{hexed("/r/g")}") = 0',
        f'7 unlink("{hexed("/r/f")}") = 0',
        f'7 unlinkat(9<{hexed("/r")}>, "{hexed("g")}", 0) = 0',
    ]
    assert list(effects(lines, root="/r", acks="/r/acks")) == [
        Created("/r/f"),
        Wrote("/r/f", 0, b"ab"),
        Wrote("/r/f", 2, b"c"),
        SyncBegan("/r/f", 1),
        Wrote("/r/f", 9, b"z"),
        SyncEnded("/r/f", 1),
        Left("3 1"),
        SyncBegan("/r/f", 2),
        Truncated("/r/f", 0),
        Linked("/r/f", "/r/g"),
        Removed("/r/f"),
        Removed("/r/g"),
    ]
