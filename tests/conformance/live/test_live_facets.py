"""Facets beside the real workerd: random programs of calls, aborts, deletions and clones.

Each scenario is a few events of one object, each a list of operations that also run inside its facets, at any
depth; both sides answer every operation.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from dohost.config import DurableObjectBinding, WorkerConfig
from tests.conformance.live.both import answers

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

HERE = Path(__file__).parent / "facets"
PROGRAM = WorkerConfig(
    name="live",
    main=HERE / "entry.py",
    config_path=HERE / "wrangler.toml",
    compatibility_date="2026-04-01",
    durable_objects=(DurableObjectBinding(name="ACTOR", class_name="Actor"),),
    classes={"Actor": "sqlite"},
)
SCENARIOS = 150
Operations = list[list[object]]


def operations(chance: random.Random, depth: int = 1) -> Operations:
    """Return a few operations of an object at a depth."""
    return [operation(chance, depth) for _ in range(chance.randint(1, 5))]


def operation(chance: random.Random, depth: int) -> list[object]:
    """Return one operation; one in three looks into a facet."""
    name, other, variable = (chance.choice("ab"), chance.choice("abc"), chance.choice("xy"))
    plain: list[list[object]] = [
        *(["increment"], ["increment"], ["value"], ["value"], ["seen"], ["alarm"]),
        *(["abort", name, "killed"], ["delete", name], ["clone", name, other]),
        *(["stub", variable, name], ["stub", variable, name]),
        *([["forget"]] if chance.random() < 0.3 else []),
        *([["end", "its own reason"]] if chance.random() < 0.3 else []),
    ]
    if depth <= 4 and chance.random() < 0.5:
        if chance.random() < 0.3:
            return ["use", variable, operations(chance, depth + 1)]
        return ["in", name, operations(chance, depth + 1)]
    return chance.choice(plain)


def scenarios(seed: int) -> list[dict[str, object]]:
    """Return the scenarios of a seed."""
    chance = random.Random(seed)
    return [
        {"name": f"{seed}-{number}", "events": [operations(chance) for _ in range(3)]}
        for number in range(SCENARIOS)
    ]


@pytest.mark.parametrize("seed", [1, 2])
async def test_both_answer_alike(tmp_path: Path, seed: int) -> None:
    asked = scenarios(seed)
    theirs, ours = await answers(asked, PROGRAM, tmp_path)
    differences = [
        f"{json.dumps(scenario)}\n  theirs: {json.dumps(their)}\n  ours:   {json.dumps(our)}"
        for scenario, their, our in zip(asked, theirs, ours, strict=True)
        if their != our
    ]
    # Shortest first: it is the one to look at.
    assert not differences, f"{len(differences)}\n" + min(differences, key=len)
    assert sum(json.dumps(answers).count("error") for answers in theirs) > SCENARIOS / 10
