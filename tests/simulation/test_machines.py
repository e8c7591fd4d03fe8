"""Every state machine agrees with its model, for tens of thousands of steps."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.gateway.test_circuit_breaker import BreakerMachine
from tests.simulation import gateway_machines, machines
from tests.storage.test_storage_kv_model import KvMachine

STEPS = int(os.environ.get("DOHOST_MODEL_STEPS", "50000"))
STEPS_PER_EXAMPLE = 50
NEW = (*machines.MACHINES, *gateway_machines.MACHINES)
ALL = (*NEW, KvMachine, BreakerMachine)


def run(machine: type[RuleBasedStateMachine], examples: int) -> int:
    """Run a machine and return how many steps it took."""
    taken = Counter[str]()

    class Counted(machine):  # type: ignore[misc,valid-type] # whichever it is
        def check_invariants(self, *args: object, **named: object) -> None:
            taken["steps"] += 1
            super().check_invariants(*args, **named)

    Counted.__name__ = machine.__name__
    run_state_machine_as_test(
        Counted,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS_PER_EXAMPLE,
            phases=(Phase.generate,),
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return taken["steps"]


@pytest.mark.parametrize("machine", NEW, ids=lambda machine: machine.__name__)
def test_it_agrees_with_its_model_for_some_steps(machine: type[RuleBasedStateMachine]) -> None:
    assert run(machine, 8) > 50


@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_agree_with_their_models_for_many_steps() -> None:
    taken = Counter[str]()
    while taken.total() < STEPS:
        for machine in ALL:
            taken[machine.__name__] += run(machine, max(STEPS // len(ALL) // 30, 1))
    print(f"\n{taken.total()} steps: {dict(taken)}")
    assert min(taken.values()) > STEPS // len(ALL) // 10, taken
