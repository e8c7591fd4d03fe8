"""The product under load: the gateway's whole pipeline, a cache hit and a GraphQL query.

Measured as processor time per request in units of bare aiohttp's hello, because that is what a
request costs whoever else uses the machine. The project's own `wrangler.toml` is served, but for
the limit of the tier (a client that is told 429 measures nothing) and for a cache of one's own per
tenant on users, because answers to requests with a credential are kept only where a route says so.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import msgspec

from tests.benchmarks.load import request_bytes
from tests.benchmarks.report import Line
from tests.benchmarks.rounds import Measured, Pace, WrongAnswer, load_of
from tests.benchmarks.servers import Command, Server, running

ROOT = Path(__file__).parent.parent.parent
ADMIN_TOKEN = "benchmark-admin-token-of-enough-length"
CONNECTIONS = 64
UNLIMITED = {"rpm": 600_000_000, "burst": 10_000_000}
TENANTS_OWN_CACHE = {"ttl": 3600, "scope": "tenant"}
QUERY = json.dumps({"query": '{ user(id: "alice") { name orders { total } } }'})


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the product: what proves its answer, and what it may cost in hellos."""

    label: str
    method: str
    path: str
    body: str = ""
    proof: bytes
    cache_status: str = ""
    must: float | None = None
    aim: float | None = None


PROBES = (
    Probe(
        label="CPU of the gateway's whole pipeline, in hellos",
        method="GET",
        path="/api/v1/inventory/SKU-001",
        proof=b"SKU-001",
        must=3.0,
        aim=2.2,
    ),
    Probe(
        label="CPU of a cache hit, in hellos",
        method="GET",
        path="/api/v1/users/alice",
        proof=b"Alice",
        cache_status="dohost;hit",
        must=1.6,
        aim=1.3,
    ),
    Probe(
        label="CPU of a planned GraphQL query over two subgraphs, in hellos",
        method="POST",
        path="/graphql",
        body=QUERY,
        proof=b'"orders"',
    ),
)


def command(home: Path) -> Command:
    """Return dohost serving the project's configuration with the tier `pro` unlimited."""
    config = tomllib.loads((ROOT / "wrangler.toml").read_text())
    config["main"] = str(ROOT / config["main"])
    gateway = config["vars"]["GATEWAY"]
    gateway["rate_limits"]["pro"] = UNLIMITED
    gateway["routes"]["/api/v1/users/*"] = {"service": "users", "cache": TENANTS_OWN_CACHE}
    config["vars"]["GATEWAY_ADMIN_TOKEN"] = ADMIN_TOKEN
    home.mkdir(parents=True, exist_ok=True)
    path = home / "wrangler.json"
    path.write_text(json.dumps(config))
    return Command(
        name="product",
        arguments=(
            sys.executable,
            "-m",
            "dohost",
            "dev",
            f"--config={path}",
            "--port={port}",
            "--persist-to={data}",
            "--log-level=warn",
            "--no-watch",
        ),
        directory=ROOT,
        ready_path="/health/live",
    )


def create_key(server: Server) -> Mapping[str, str]:
    """Create an API key of the tier `pro`; return the header that shows it.

    Raises:
        WrongAnswer: the admin API refused.
    """
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
    grant = json.dumps({"tenant": "acme", "tier": "pro"})
    answer = server.ask("POST", "/api/keys", headers=headers, body=grant)
    if answer.status != 201:
        raise WrongAnswer(f"POST /api/keys: {answer.status} {answer.body[:300]!r}")
    return {"X-API-Key": json.loads(answer.body)["key"]}


def request_of(probe: Probe, key: Mapping[str, str]) -> bytes:
    """Return a probe's request as bytes."""
    headers = [f"{name}: {value}" for name, value in key.items()]
    if probe.body:
        headers.append("Content-Type: application/json")
    return request_bytes(probe.method, probe.path, headers=tuple(headers), body=probe.body)


def verify(server: Server, probe: Probe, key: Mapping[str, str]) -> None:
    """Ask twice and look at the answers.

    Raises:
        WrongAnswer: an answer is not the one that proves the work.
    """
    headers = {**key, **({"Content-Type": "application/json"} if probe.body else {})}
    for _ in range(2):
        answer = server.ask(probe.method, probe.path, headers=headers, body=probe.body)
        if answer.status != 200 or probe.proof not in answer.body:
            raise WrongAnswer(f"{probe.path}: {answer.status} {answer.body[:300]!r}")
    if not answer.headers.get("cache-status", "").startswith(probe.cache_status):
        raise WrongAnswer(f"{probe.path}: Cache-Status is {answer.headers.get('cache-status')}")


def lines(hello: Server, *, data: Path, pace: Pace, say: Callable[[str], None]) -> list[Line]:
    """Start the product beside the running yardstick, measure each probe, stop it."""
    with running(command(data), data=data / "objects") as server:
        key = create_key(server)
        for probe in PROBES:
            verify(server, probe, key)
        return [line_of(probe, server, hello, key=key, pace=pace, say=say) for probe in PROBES]


def line_of(
    probe: Probe,
    server: Server,
    hello: Server,
    *,
    key: Mapping[str, str],
    pace: Pace,
    say: Callable[[str], None],
) -> Line:
    """Return the median over the rounds of a probe's cost in hellos."""
    ratios = []
    for number in range(pace.rounds):
        theirs = load_of(
            hello, [request_bytes("GET", "/hello")], connections=CONNECTIONS, pace=pace
        )
        ours = load_of(server, [request_of(probe, key)], connections=CONNECTIONS, pace=pace)
        ratios.append(ours.cpu_us / theirs.cpu_us)
        say(f"round {number + 1}  {probe.path:<32}{described(ours)}; hello {theirs.cpu_us:.1f} µs")
    return Line(
        against="aiohttp",
        label=probe.label,
        connections=CONNECTIONS,
        value=median(ratios),
        sense="only" if probe.must is None else "most",
        must=probe.must,
        aim=probe.aim,
    )


def described(measured: Measured) -> str:
    """Return a measurement in words."""
    return f"{measured.load.per_second:>9,.0f}/s, cpu {measured.cpu_us:.1f} µs"
