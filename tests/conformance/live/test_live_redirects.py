"""Redirects of objects and services beside the real workerd: every status, method, body and place."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from dohost.config import DurableObjectBinding, ServiceBinding, WorkerConfig
from tests.conformance.live.both import answers

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

HERE = Path(__file__).parent / "redirects"
PROGRAM = WorkerConfig(
    name="live",
    main=HERE / "entry.py",
    config_path=HERE / "wrangler.toml",
    compatibility_date="2026-04-01",
    durable_objects=(DurableObjectBinding(name="OBJECT", class_name="Target"),),
    classes={"Target": "sqlite"},
    services=(ServiceBinding(binding="SERVICE", service="live", entrypoint="Named"),),
)
Asked = list[tuple[str, str, dict[str, object]]]
SENT = {"authorization": "secret", "cookie": "a=b", "content-type": "text/x"}
BODIES: tuple[dict[str, object], ...] = ({"body": "hello"}, {"stream": True}, {})
PLACES = (
    *("end?q%23frag", "//b/c", "https://other.example:99/x", "http://host:80/y", "http://", ""),
    *("data:text/plain,hi", "HTTP://Host/z", "../up", "?only=query", "/a/../b"),
)


def requests() -> Asked:
    """Return the requests to compare."""
    asked: Asked = []
    for target in ("object", "service"):
        statuses = (300, 301, 302, 303, 305, 307, 308)
        methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")
        for status, method, body in itertools.product(statuses, methods, BODIES):
            if not body or method not in ("GET", "HEAD"):
                options = {"method": method, "headers": SENT, **body}
                asked.append((target, f"/{status}/1", options))
        for options in ({}, {"whole": True}):
            asked += [
                (target, "/302/1", {**options, "redirect": mode})
                for mode in ("follow", "manual", "error", "other")
            ]
        asked += [(target, f"/307/1?to={place}", {"headers": SENT}) for place in PLACES]
        asked += [(target, path, {}) for path in ("/302/20", "/302/21", "/302/1?none", "/302/1#x")]
    return asked


async def test_both_answer_alike(tmp_path: Path) -> None:
    asked = requests()
    theirs, ours = await answers(asked, PROGRAM, tmp_path)
    differences = [
        f"{json.dumps(request)}\n  theirs: {json.dumps(their)}\n  ours:   {json.dumps(our)}"
        for request, their, our in zip(asked, theirs, ours, strict=True)
        if their != our
    ]
    assert not differences, f"{len(differences)}\n" + "\n".join(differences[:10])
    assert sum(isinstance(their, list) and len(their) == 1 for their in theirs) > 20
