"""A thousand objects: a server has capped descriptors and is there again at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dohost.runtime.descriptors import OBJECT_DESCRIPTORS
from tests.simulation.many_objects import measure

OBJECTS = 1000
# What everything else of a server has open: its sockets, the catalog, the log.
OTHERS = 60
KIB_EACH_MAX = 250
# A start that opened each file would take twice as long, on any machine.
START_RATIO_MAX = 1.5


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_server_with_a_thousand_objects_starts_as_soon_as_one_with_none(tmp_path: Path) -> None:
    found = measure(tmp_path, objects=OBJECTS)
    print(f"\n{found.lines()}")
    first, *_, last = found.seen
    each_kib = (last.rss_mib - first.rss_mib) * 1024 / (last.objects - first.objects)
    assert each_kib < KIB_EACH_MAX
    assert found.descriptors_max <= OBJECTS * OBJECT_DESCRIPTORS + OTHERS
    assert found.ready_s[0] < found.ready_empty_s[0] * START_RATIO_MAX
