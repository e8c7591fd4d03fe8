"""`assets`: the directory of static files, and which requests go to the Worker before them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from dohost.config.document import Document
from dohost.config.lines import KeyPath
from dohost.config.model import AssetsConfig, DurableObjectBinding
from dohost.config.sections import Section
from dohost.config.shape import Findings, shown

ROUTES_MAX = 100
ROUTE_CHARACTERS_MAX = 100


def read_assets(
    document: Document, section: Section, findings: Findings, *, directory: Path | None = None
) -> AssetsConfig | None:
    """Return the static assets, in `directory` if that is given; one that is not there is a problem."""
    placed = section.get("assets")
    if directory is not None and placed is None:
        _check_directory(directory, directory, (), findings)
        return AssetsConfig(directory=directory.resolve())
    if placed is None:
        return None
    table = msgspec.convert(placed.value, dict[str, object])
    named = directory or Path(str(table["directory"]))
    directory = (document.path.parent / named).resolve()
    _check_directory(directory, named, (*placed.path, "directory"), findings)
    first = table.pop("run_worker_first", False)
    known = {key: table[key] for key in AssetsConfig.__struct_fields__ if key in table}
    known |= {"directory": directory}
    where = (*placed.path, "run_worker_first")
    if isinstance(first, list):
        routes = msgspec.convert(first, list[str])
        _check_routes(routes, where, findings)
        known["worker_routes"] = [route for route in routes if not route.startswith("!")]
        known["asset_routes"] = [route[1:] for route in routes if route.startswith("!")]
    else:
        known["is_worker_first"] = first
        if first and "binding" not in table:
            findings.warn(
                where,
                "run_worker_first=true set without an assets binding: every request goes to the "
                'Worker, and it can\'t reach the assets. Name them with "binding" in "assets".',
            )
    return msgspec.convert(known, AssetsConfig)


def check_site(
    section: Section, objects: Sequence[DurableObjectBinding], findings: Findings
) -> None:
    """Complain of settings that mean nothing where there is no code."""
    table = section.plain("assets")
    settings = table if isinstance(table, dict) else {}
    for key in ("binding", "run_worker_first"):
        if key in settings:
            findings.problem(
                ("assets", key),
                f'"{key}" of "assets" needs a Worker: name its file with "main", or remove "{key}".',
            )
    own = [each.class_name for each in objects if each.script_name is None]
    if own:
        findings.problem(
            ("durable_objects",),
            f'The classes {", ".join(own)} need a Worker: name its file with "main".',
        )


def _check_directory(directory: Path, named: Path, where: KeyPath, findings: Findings) -> None:
    if not directory.is_dir():
        findings.problem(where, f'The directory of "assets" was not found: {shown(str(named))}.')


def _check_routes(routes: Sequence[str], where: KeyPath, findings: Findings) -> None:
    """Check the patterns as wrangler does; what it refuses is a problem here too."""
    positive = [route for route in routes if not route.startswith("!")]
    complaints: list[str] = []
    if not routes:
        complaints.append(
            "No `run_worker_first` rules were provided; must provide at least 1 rule."
        )
    elif not positive:
        complaints.append(
            "Only negative `run_worker_first` rules were provided; must provide at least 1 "
            "non-negative rule"
        )
    if len(routes) > ROUTES_MAX:
        complaints.append(
            f"Too many `run_worker_first` rules were provided; {len(routes)} rules provided exceeds "
            f"max of {ROUTES_MAX}."
        )
    complaints += [f"'{route}': {why}" for route in routes if (why := _wrong(route))]
    for rules in (positive, [route for route in routes if route.startswith("!")]):
        complaints += _clashes(rules)
    for complaint in complaints:
        findings.problem(where, complaint)


def _wrong(route: str) -> str | None:
    if route.startswith("!") and not route.startswith("!/"):
        return "negative rules must start with '!/'"
    if not route.startswith(("/", "!/")):
        return "rules must start with '/' or '!/'"
    if len(route) > ROUTE_CHARACTERS_MAX:
        return f"all rules must be less than {ROUTE_CHARACTERS_MAX} characters in length"
    return None


def _clashes(rules: Sequence[str]) -> list[str]:
    found: list[str] = []
    for index, rule in enumerate(rules):
        if rule in rules[:index]:
            found.append(f"'{rule}': rule is a duplicate; rules must be unique")
        if rule.endswith("*"):
            found += [
                f"'{other}': rule '{rule}' makes it redundant"
                for other in rules
                if other != rule and other.startswith(rule[:-1])
            ]
    return found
