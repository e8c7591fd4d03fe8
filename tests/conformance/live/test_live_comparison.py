"""The real workerd and our host answer the same, and a planted difference would be found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from workers.values import JsDict

from dohost.storage.arguments import Range
from dohost.storage.kv import KeyValue
from tests.conformance.live.comparison import Comparison
from tests.conformance.live.run import report
from tests.conformance.live.scenario import total
from tests.conformance.live.sides import WorkerdUnavailable, dohost, workerd

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

SEED = 20261128
SCENARIOS = 2500


@pytest.fixture
async def comparison(tmp_path: Path) -> AsyncIterator[Comparison]:
    try:
        with workerd(tmp_path / "workerd") as theirs:
            async with dohost(tmp_path / "dohost") as ours:
                yield Comparison(theirs, ours)
    except WorkerdUnavailable as unavailable:
        pytest.skip(f"NOT COMPARED WITH WORKERD: {unavailable}")


async def test_no_difference_that_is_not_known(comparison: Comparison) -> None:
    await comparison.run(SEED, range(SCENARIOS), findings_max=3, tell=print)
    text = report(comparison)
    assert not comparison.findings, text
    # What ends early hides what comes after it.
    assert comparison.tally.ended_early < 0.03 * SCENARIOS, text
    assert len(comparison.tally.crashed) < 0.01 * SCENARIOS, text


async def test_a_planted_difference_is_found_and_shrunk(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    within = KeyValue.within

    def without_the_last_of_three(self: KeyValue, wanted: Range) -> JsDict:
        found = within(self, wanted)
        return found if len(found) != 3 else JsDict(list(found.items())[:2])

    monkeypatch.setattr(KeyValue, "within", without_the_last_of_three)
    await comparison.run(SEED, range(500), findings_max=1, tell=print)
    (finding,) = comparison.findings
    assert finding.difference.operation[:3:2] == ["call", "list"]
    assert total(finding.smallest) <= 5
