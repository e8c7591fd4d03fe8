"""Facets beside the real workerd: random programs of calls, aborts, deletions and clones.

Each scenario is a few events of one object, each a list of operations that also run inside its facets, at any
depth; both sides answer every operation.
"""

from __future__ import annotations

import http.client
import json
import random
from pathlib import Path

import pytest
from workers import Request

from dohost.config import DurableObjectBinding, WorkerConfig
from dohost.runtime.host import Host, HostOptions
from dohost.runtime.lock import LockInfo
from dohost.telemetry import Log
from tests.benchmarks import peers
from tests.benchmarks.servers import Command, running

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

HERE = Path(__file__).parent / "facets"
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
    installed = peers.install()
    if isinstance(installed, peers.Unavailable):
        pytest.skip(installed.reason)
    asked = scenarios(seed)
    theirs, ours = _theirs(installed, tmp_path / "workerd", asked), await _ours(tmp_path, asked)
    differences = [
        f"{json.dumps(scenario)}\n  theirs: {json.dumps(their)}\n  ours:   {json.dumps(our)}"
        for scenario, their, our in zip(asked, theirs, ours, strict=True)
        if their != our
    ]
    # Shortest first: it is the one to look at.
    assert not differences, f"{len(differences)}\n" + min(differences, key=len)
    assert sum(json.dumps(answers).count("error") for answers in theirs) > SCENARIOS / 10


def _theirs(installed: Path, data: Path, asked: list[dict[str, object]]) -> list[object]:
    command = Command(
        name="workerd",
        arguments=(
            str(peers.workerd(installed)),
            "serve",
            str(HERE / "config.capnp"),
            "--socket-addr=http=127.0.0.1:{port}",
            "--directory-path=objects={data}",
        ),
        directory=HERE,
    )
    with running(command, data=data) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/", body=json.dumps(asked))
        response = connection.getresponse()
        content = response.read()
        connection.close()
        assert response.status == 200, content[:2000]
    answers: list[object] = json.loads(content)
    return answers


async def _ours(directory: Path, asked: list[dict[str, object]]) -> list[object]:
    worker = WorkerConfig(
        name="live",
        main=HERE / "entry.py",
        config_path=HERE / "wrangler.toml",
        compatibility_date="2026-04-01",
        durable_objects=(DurableObjectBinding(name="ACTOR", class_name="Actor"),),
        classes={"Actor": "sqlite"},
    )
    host = Host(HostOptions(persist=directory / "data", log=Log(lambda event: None)))
    await host.start(LockInfo(pid=1))
    try:
        await host.load((worker,))
        request = Request("http://localhost/", method="POST", body=json.dumps(asked))
        answers: list[object] = json.loads(await (await host.fetch(request)).text())
    finally:
        await host.drain(grace_s=1)
    return answers
