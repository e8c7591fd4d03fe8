"""A disk that fails under load loses nothing, lies to nobody, and heals; a run that could not see it is no proof."""

from __future__ import annotations

import os

import pytest

from tests.simulation import ledger
from tests.simulation.fault_rounds import RECOVERS_WITHIN_S, Round, drawn, explore
from tests.simulation.faulty_disk import Kind
from tests.simulation.planted_bugs import FAULT_BUGS
from tests.simulation.system_calls import is_available

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not is_available(), reason="needs Linux with seccomp's user notification"),
]

ROUNDS = int(os.environ.get("DOHOST_FAULT_ROUNDS", "75"))


async def test_whatever_call_fails_nothing_is_lost_and_everything_heals() -> None:
    found = await explore(drawn(ROUNDS, seed=1, up_to=120))
    assert not found.violations, "\n".join(found.violations)
    assert set(found.reached) == set(Kind)
    assert sum(found.reached.values()) >= 0.97 * ROUNDS
    assert found.kills >= ROUNDS // 3
    assert found.acknowledged > ROUNDS * 50
    assert {"storage-full", "storage-failed", "outcome-unknown", "too-many-files"} <= set(
        found.codes
    )
    assert found.slowest_recovery_s < RECOVERS_WITHIN_S


@pytest.mark.parametrize(
    ("bug", "kind", "words"),
    [
        ("early-answer", Kind.write_full, ("lost",)),
        ("blurred-outcome", Kind.sync_fails, ("applied: ",)),
        ("hasty-quarantine", Kind.open_fails, ("not a clear answer",)),
        ("stays-broken", Kind.write_full, ("does not work again", "can't be read")),
        ("no-answer", Kind.write_full, ("no answer",)),
        ("log-flood", Kind.write_full, ("lines in the log",)),
        ("gives-up", Kind.sync_fails, ("hung up", "has ended")),
    ],
)
async def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, bug: str, kind: Kind, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(ledger, "ANSWER_WITHIN_S", 1.0)
    rounds = [
        Round(
            kind=kind,
            number=number,
            # Of calls that follow each other, a lasting fault hits the first only.
            lasts=number % 2 == 1,
            one=False,
            kills_early=False,
            kills=True,
        )
        for number in range(3, 60, 3)
    ]
    found = await explore(rounds, bug=bug)
    assert found.violations, found
    assert any(word in found.violations[0] for word in words), found.violations


def test_every_planted_bug_is_looked_for() -> None:
    planted = {arguments[0] for arguments in test_a_planted_bug_is_found.pytestmark[0].args[1]}
    assert planted == set(FAULT_BUGS)
