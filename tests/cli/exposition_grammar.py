"""A strict reader of Prometheus's text format 0.0.4: whatever it lets through, a scraper takes."""

from __future__ import annotations

import re
from itertools import pairwise

import msgspec

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_help = re.compile(rf"# HELP ({NAME}) ((?:[^\\]|\\[\\n])+)").fullmatch
_type = re.compile(rf"# TYPE ({NAME}) (counter|gauge|histogram)").fullmatch
_sample = re.compile(
    rf"({NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (\+Inf|-?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)"
).fullmatch
_label = re.compile(rf"({_LABEL})").findall
_SUFFIXES = {"counter": {""}, "gauge": {""}, "histogram": {"_bucket", "_sum", "_count"}}
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

Labels = tuple[tuple[str, str], ...]


class Page(msgspec.Struct, frozen=True):
    """What a page says: kinds by family, values by name and sorted labels."""

    kinds: dict[str, str]
    values: dict[tuple[str, Labels], float]

    def value(self, name: str, **labels: str) -> float:
        """Return one value; `class_` stands for `class`."""
        return self.values[name, _sorted({key.rstrip("_"): text for key, text in labels.items()})]


def parse(text: str) -> Page:
    """Read a page. Raises: AssertionError, with the line, for what is no such page."""
    assert text.endswith("\n"), "the last line has to end as well"
    kinds: dict[str, str] = {}
    values: dict[tuple[str, Labels], float] = {}
    lines = text.removesuffix("\n").split("\n")
    family, described = "", ""
    for line in lines:
        if found := _help(line):
            described = found[1]
            assert described not in kinds, f"a family in two places: {line}"
        elif found := _type(line):
            family = found[1]
            assert family == described, f"a type without a description: {line}"
            kinds[family] = found[2]
        else:
            found = _sample(line)
            assert found is not None, f"no line of the format: {line}"
            assert family == described != "", f"a value between description and type: {line}"
            name, labels = found[1], _labels(found[2] or "")
            suffix = name.removeprefix(family)
            assert name.startswith(family), f"of another family: {line}"
            assert suffix in _SUFFIXES[kinds[family]], f"not of its kind: {line}"
            assert (name, labels) not in values, f"twice: {line}"
            values[name, labels] = float(found[3])
    page = Page(kinds, values)
    _check_names(page)
    _check_histograms(page)
    return page


def _labels(text: str) -> Labels:
    pairs = [pair.partition("=")[::2] for pair in _label(text)]
    labels = {key: re.sub(r"\\.", lambda m: _ESCAPES[m[0]], value[1:-1]) for key, value in pairs}
    assert len(labels) == len(pairs), f"a label twice: {text}"
    return _sorted(labels)


def _sorted(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _check_names(page: Page) -> None:
    for name, kind in page.kinds.items():
        assert name.endswith("_total") == (kind == "counter"), name
    for (name, _), value in page.values.items():
        assert value >= 0 or page.kinds.get(name) == "gauge", name


def _check_histograms(page: Page) -> None:
    for family in (name for name, kind in page.kinds.items() if kind == "histogram"):
        buckets = {
            float(dict(labels)["le"]): value
            for (name, labels), value in page.values.items()
            if name == f"{family}_bucket"
        }
        bounds = list(buckets)
        assert bounds == sorted(bounds), f"bounds of {family} are out of order"
        assert all(low <= high for low, high in pairwise(buckets.values())), family
        assert buckets[float("inf")] == page.values[f"{family}_count", ()], family
