"""Answers of the gateway's own pages."""

from __future__ import annotations

import msgspec

from dohost.gateway.forward import Answer

NO_STORE = ("cache-control", "no-store")


def json_answer(value: object, *, status: int = 200) -> Answer:
    """Return a value as JSON that nobody stores."""
    headers = (("content-type", "application/json"), NO_STORE)
    return Answer(status=status, headers=headers, body=msgspec.json.encode(value))


def text_answer(text: str, content_type: str) -> Answer:
    """Return text."""
    return Answer(status=200, headers=(("content-type", content_type),), body=text.encode())


def html_answer(text: str) -> Answer:
    """Return a page that loads nothing from elsewhere."""
    headers = (
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ("x-content-type-options", "nosniff"),
    )
    return Answer(status=200, headers=headers, body=text.encode())
