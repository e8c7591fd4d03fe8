"""The breakers of a gateway object: by service and by object, durable, bounded."""

from __future__ import annotations

from collections.abc import Iterator

from dohost.gateway.breakers import Breakers, Grant
from dohost.gateway.circuit_breaker import Outcome, Rejected
from dohost.gateway.config_tables import BreakerConfig, ServiceConfig
from dohost.gateway.upstream import Target

CONFIG = BreakerConfig(threshold=3, timeout_ms=1_000, half_open_max=1, objects_max=8)
SERVICE = ServiceConfig(name="users", binding="USER_DO")


class Rows:
    def __init__(self) -> None:
        self.states: dict[str, str] = {}

    def load(self) -> Iterator[tuple[str, str]]:
        return iter(list(self.states.items()))

    def save(self, key: str, state: str) -> None:
        self.states[key] = state


def target(name: str) -> Target:
    return Target(service=SERVICE, object_name=name)


def ask(breakers: Breakers, name: str, now_ms: int = 0) -> Grant | Rejected:
    return breakers.acquire(target(name), now_ms=now_ms, lease_ms=100)


def run(breakers: Breakers, name: str, outcome: Outcome, now_ms: int = 0) -> None:
    grant = ask(breakers, name, now_ms)
    assert isinstance(grant, Grant)
    breakers.report(grant, outcome, now_ms=now_ms)


def test_one_poisoned_object_opens_its_own_breaker_only() -> None:
    breakers = Breakers(CONFIG, Rows(), now_ms=0)
    for name in ("a", "b", "c"):
        run(breakers, name, "ok")
    for _ in range(3):
        run(breakers, "poisoned", "failure")
    assert isinstance(ask(breakers, "poisoned"), Rejected)
    assert isinstance(ask(breakers, "a"), Grant)


def test_failures_of_several_objects_open_the_services_breaker() -> None:
    breakers = Breakers(CONFIG, Rows(), now_ms=0)
    for name in ("a", "b", "c"):
        run(breakers, name, "failure")
    assert isinstance(ask(breakers, "fine"), Rejected)


def test_a_service_with_one_object_opens_with_it() -> None:
    breakers = Breakers(CONFIG, Rows(), now_ms=0)
    for _ in range(3):
        run(breakers, "main", "failure")
    assert breakers.status("users", None, now_ms=0)["state"] == "open"


def test_an_open_breaker_survives_a_restart() -> None:
    rows = Rows()
    breakers = Breakers(CONFIG, rows, now_ms=0)
    for _ in range(3):
        run(breakers, "main", "failure")
    again = Breakers(CONFIG, rows, now_ms=500)
    assert isinstance(ask(again, "main", 500), Rejected)
    assert isinstance(ask(again, "main", 1_000), Grant)


def test_a_permit_of_the_object_is_given_back_when_the_service_refuses() -> None:
    breakers = Breakers(CONFIG, Rows(), now_ms=0)
    breakers.force("users", "open")
    for _ in range(5):
        assert isinstance(ask(breakers, "a"), Rejected)
    breakers.force("users", "auto")
    assert isinstance(ask(breakers, "a"), Grant)


def test_reset_closes_every_breaker_of_a_service() -> None:
    breakers = Breakers(CONFIG, Rows(), now_ms=0)
    for _ in range(3):
        run(breakers, "main", "failure")
    breakers.reset("users")
    assert isinstance(ask(breakers, "main"), Grant)


def test_memory_is_bounded_and_an_open_breaker_is_not_forgotten() -> None:
    breakers = Breakers(CONFIG, Rows(), now_ms=0)
    for _ in range(3):
        run(breakers, "poisoned", "failure")
    breakers.force("users", "closed")
    for number in range(50):
        run(breakers, f"o{number}", "failure")
    assert isinstance(ask(breakers, "poisoned"), Rejected)
    assert len(breakers._states) <= CONFIG.objects_max + 1
