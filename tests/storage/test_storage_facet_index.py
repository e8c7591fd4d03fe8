"""The index of an object's facets: Cloudflare's format, and what a crash may leave of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohost.errors import JsException, Quarantined
from dohost.storage import facet_index
from dohost.storage.facet_index import FacetIndex, facet_files, facet_path, index_path

# What workerd itself wrote for the facets a, a/n, b, b/n and c.
WORKERDS = bytes.fromhex("57efb0c55bcecdc40000010061010001006e0000010062030001006e0000010063")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / f"{'0' * 64}.sqlite"


def fill(path: Path) -> FacetIndex:
    index = FacetIndex(path)
    for parent, name in ((0, "a"), (1, "n"), (0, "b"), (3, "n"), (0, "c")):
        index.add(parent, name)
    index.save()
    return index


def test_the_format_is_cloudflares(path: Path) -> None:
    fill(path)
    assert index_path(path).read_bytes() == WORKERDS
    index = FacetIndex(path)
    assert [index.number(0, name) for name in "abc"] == [1, 3, 5]
    assert (index.number(3, "n"), index.number(5, "n"), index.name(2)) == (4, None, "n")
    assert index.children(0) == [(1, "a"), (3, "b"), (5, "c")]
    assert index.family(3) == [3, 4]


def test_what_is_not_saved_is_only_in_memory(path: Path) -> None:
    index = FacetIndex(path)
    assert index.add(0, "a") == 1
    assert not index.is_saved(1)
    assert not index_path(path).exists()
    index.save()
    assert index.is_saved(1)
    assert index.add(0, "b") == 2
    assert FacetIndex(path).number(0, "b") is None
    index.save()
    assert FacetIndex(path).number(0, "b") == 2


@given(st.integers(0, len(WORKERDS)), st.integers(0, 40))
def test_what_a_crash_leaves_of_an_entry_is_nothing_and_is_written_over(
    tmp_path_factory: pytest.TempPathFactory, kept: int, zeros: int
) -> None:
    path = tmp_path_factory.mktemp("index") / f"{'0' * 64}.sqlite"
    index_path(path).write_bytes(WORKERDS[:kept] + bytes(zeros if kept >= 8 else 0))
    index = FacetIndex(path)
    whole = [8, 13, 18, 23, 28, 33]
    if not zeros or kept in whole:
        assert index.last == sum(end <= kept for end in whole[1:])
    index.add(0, "new")
    index.save()
    again = FacetIndex(path)
    assert (again.last, again.name(again.last)) == (index.last, "new")


@pytest.mark.parametrize("rest", [b"", bytes(5), WORKERDS[8:]])
def test_an_index_that_begins_with_zeros_is_a_new_one_that_never_was_durable(
    path: Path, rest: bytes
) -> None:
    index_path(path).write_bytes(bytes(8) + rest)
    index = FacetIndex(path)
    assert (index.is_unfinished, index.last) == (True, 0)
    fill(path)
    assert index_path(path).read_bytes() == WORKERDS
    assert not FacetIndex(path).is_unfinished


@pytest.mark.parametrize(
    "content",
    [b"SQLite format 3\0", WORKERDS[:8] + b"\x05\0\x01\0a", WORKERDS[:8] + b"\0\0\x01\0\xff"],
)
def test_a_damaged_index_is_quarantined_and_named(path: Path, content: bytes) -> None:
    index_path(path).write_bytes(content)
    with pytest.raises(Quarantined, match=r"\.facets"):
        FacetIndex(path)


def test_numbers_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facet_index, "FACETS_MAX", 5)
    index = fill(path)
    assert index.add(0, "a") == 1
    with pytest.raises(JsException, match="Maximum number of facets exceeded"):
        index.add(0, "d")


def test_files_that_the_index_does_not_know_are_no_facets(path: Path) -> None:
    facet_path(path, 9).touch()
    assert facet_files(path) == []
    fill(path)
    facet_path(path, 4).touch()
    assert facet_files(path) == [facet_path(path, 4)]
