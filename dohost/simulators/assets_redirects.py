"""`_redirects`: where requests for paths go instead, before any file is looked at. Pure.

Rules without placeholders are found by their path and win; of the others the first that matches holds.
Status 200 means: serve what is at the other path, under this one.
"""

from __future__ import annotations

import re

import msgspec
from workers.url import parse

from dohost.simulators.assets_rules import (
    Complaint,
    Invalid,
    Pattern,
    filled,
    has_host,
    lines_of,
    place_of,
    read_target,
)

STATIC_RULES_MAX = 2000
DYNAMIC_RULES_MAX = 100
_STATUSES = frozenset((200, 301, 302, 303, 307, 308))
_is_dynamic = re.compile(r"\*|:[A-Za-z]").search
_leads_to_index = re.compile(r"/index(.html)?$").search


class Redirect(msgspec.Struct, frozen=True, kw_only=True):
    """A rule: where it leads, and how."""

    to: str
    status: int


class Redirects:
    """The rules of one file."""

    def __init__(self) -> None:
        self.fixed: dict[str, Redirect] = {}
        self.dynamic: list[tuple[Pattern, Redirect]] = []

    def find(self, url: str) -> Redirect | None:
        """Return the rule for a URL, its placeholders replaced."""
        if not self.fixed and not self.dynamic:
            return None
        host_name, path = place_of(url)
        found = self.fixed.get(path)
        if found is not None:
            return found
        for pattern, rule in self.dynamic:
            values = pattern.match(host_name, path)
            if values is not None:
                target = filled(rule.to, values).strip()
                if not re.match(r"\w+://", target, re.ASCII):
                    target = re.sub("/+", "/", target)
                return Redirect(to=target, status=rule.status)
        return None


def location_of(rule: Redirect, url: str) -> str:
    """Return the `Location` that a rule gives: the request's query goes along unless it has its own."""
    here, there = parse(url), parse(rule.to, url)
    query = there.query or here.query
    tail = (f"?{query}" if query else "") + (f"#{there.fragment}" if there.fragment else "")
    if (there.scheme, there.authority) == (here.scheme, here.authority):
        return f"{there.path}{tail}"
    return f"{there.scheme}://{there.authority}{there.path}{tail}"


def parse_redirects(text: str, *, handles_html: bool) -> tuple[Redirects, list[Complaint]]:
    """Return the rules of a file, and the lines that are left out.

    `handles_html`: `index.html` is served as its directory, so a rule to it from there never ends.
    """
    complaints: list[Complaint] = []
    redirects = Redirects()
    seen: set[str] = set()
    for number, line in lines_of(text, complaints):
        try:
            source, rule = _read(line, handles_html=handles_html)
            if source in seen:
                raise Invalid(f"there is a rule for {source} already")
            _add(redirects, source, rule)
            seen.add(source)
        except Invalid as invalid:
            complaints.append(Complaint(line=number, why=str(invalid)))
    return redirects, complaints


def _read(line: str, *, handles_html: bool) -> tuple[str, Redirect]:
    tokens = re.sub(r"\s+#.*$", "", line).split()
    if len(tokens) not in (2, 3):
        raise Invalid(f"2 or 3 words are expected, not {len(tokens)}")
    source = read_target(tokens[0], is_relative=True)
    target = read_target(tokens[1], keeps_query=True)
    given = tokens[2] if len(tokens) == 3 else "302"
    status = int(given) if given.isascii() and given.isdigit() else 0
    if status not in _STATUSES:
        raise Invalid(f"status codes are 200, 301, 302, 303, 307 and 308, not {given}")
    is_endless = source.endswith("/*") or (source.endswith("/") and handles_html)
    if is_endless and not has_host(target) and _leads_to_index(target):
        raise Invalid("this rule would lead to itself without end")
    if status == 200 and has_host(target):
        raise Invalid("rules of status 200 lead to paths, not to other hosts")
    return source, Redirect(to=target, status=status)


def _add(redirects: Redirects, source: str, rule: Redirect) -> None:
    # After the first rule with placeholders, the order of all that follow counts.
    if not redirects.dynamic and not _is_dynamic(source):
        if len(redirects.fixed) >= STATIC_RULES_MAX:
            raise Invalid(f"there are more than {STATIC_RULES_MAX} rules without placeholders")
        redirects.fixed[source] = rule
        return
    if len(redirects.dynamic) >= DYNAMIC_RULES_MAX:
        raise Invalid(f"there are more than {DYNAMIC_RULES_MAX} rules with placeholders")
    try:
        redirects.dynamic.append((Pattern(source), rule))
    except re.error as error:
        raise Invalid("a placeholder is named twice") from error
