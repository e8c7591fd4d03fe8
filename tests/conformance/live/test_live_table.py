"""The README tells of every known difference, and the comparison's parts do what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conformance.live.compare import Tally, difference, known_as
from tests.conformance.live.differences import KNOWN, Known
from tests.conformance.live.generate import OPERATIONS_MIN, scenario
from tests.conformance.live.minimise import minimise
from tests.conformance.live.neutral import comparable
from tests.conformance.live.scenario import Operation, Operations, Scenario, inner_of, total
from tests.conformance.live.sides import dohost

README = (Path(__file__).parents[3] / "README.md").read_text("utf-8")


def rows() -> list[str]:
    """Return the left cells of the README's table of differences."""
    _, _, section = README.partition("## What differs from Cloudflare")
    return [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_the_readme_tells_of_each_known_difference_once(known: Known) -> None:
    assert len([row for row in rows() if row.startswith(known.readme)]) == 1


def test_each_known_difference_has_a_name_of_its_own() -> None:
    assert len({known.name for known in KNOWN}) == len(KNOWN)


def test_a_scenario_is_made_from_its_seed_and_number_alone() -> None:
    assert scenario(3, 7) == scenario(3, 7)
    assert scenario(3, 7) != scenario(3, 8)
    assert scenario(4, 7).events != scenario(3, 7).events


def test_scenarios_are_long_and_use_every_kind_of_operation() -> None:
    scenarios = [scenario(1, number) for number in range(300)]
    assert min(map(total, scenarios)) >= OPERATIONS_MIN

    def kinds(operations: Operations) -> set[str]:
        inner = [kinds(inner_of(each)) for each in operations]
        return {str(each[0]) for each in operations}.union(*inner)

    met = set().union(*(kinds(event) for each in scenarios for event in each.events))
    assert met == {
        *("call", "call_sync", "unawaited", "exec", "open", "read", "list", "step", "size", "turn"),
        *("transaction", "sync_transaction", "past_alarm", "ids", "abort"),
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, {"$float": "1"}),
        (True, 1),
        (0, False),
        ("1", 1),
        ({"$dict": [["a", 1], ["b", 2]]}, {"$dict": [["b", 2], ["a", 1]]}),
        ({"$dict": []}, {"$plain": []}),
        ({"$bytes": "00"}, "00"),
        ([1], {"$set": [1]}),
        (None, "done"),
    ],
)
def test_values_of_different_types_or_order_differ(one: object, other: object) -> None:
    assert comparable(one) != comparable(other)  # type: ignore[arg-type] # encoded values


def test_floats_and_sets_are_compared_by_value() -> None:
    assert comparable({"$float": "1e+21"}) == comparable({"$float": "1e21"})
    assert comparable({"$set": [2, 1]}) == comparable({"$set": [1, 2]})


GET: Operation = ["call", "storage", "get", ["b"]]


async def test_a_scenario_shrinks_to_what_makes_it_differ() -> None:
    noise: Operations = [["call", "storage", "get", ["x"]] for _ in range(9)]
    whole = Scenario(
        name="s", events=[noise, [*noise, ["transaction", [*noise, GET], "throw"], *noise]]
    )

    async def differ(candidates: Sequence[Scenario]) -> list[bool]:
        return ["['b']" in str(each.events) for each in candidates]

    smallest = await minimise(whole, differ)
    assert smallest.events == [[["transaction", [GET], "throw"]]]


async def test_our_side_answers_and_a_changed_answer_is_a_difference(tmp_path: Path) -> None:
    asked = Scenario(
        name="s",
        events=[
            [["call", "storage", "put", ["b", {"$dict": [["n", {"$float": "1.5"}]]}]], ["turn"]],
            [["sync_transaction", [["exec", "SELECT 1 AS one", [], "one"]], "return"], GET],
        ],
    )
    async with dohost(tmp_path) as ours:
        (answers,) = await ours.perform([asked])
        (others,) = await ours.perform([asked.renamed("other")])
    assert answers is not None
    assert others is not None
    one = [{"$dict": [["one", 1]]}, ["one"]]
    assert answers == [[None, None], [[[one], 1], {"$dict": [["n", {"$float": "1.5"}]]}]]
    assert difference(asked, answers, others, tally=Tally()) is None
    others[1][1] = {"$dict": [["n", 1]]}  # type: ignore[index,call-overload] # the planted difference
    found = difference(asked, answers, others, tally=Tally())
    assert found is not None
    assert found.operation == GET
    assert known_as(found) is None
