"""An index of facets that begins with zeros: a new one after a power cut, or the damage of an old one."""

from __future__ import annotations

from pathlib import Path

import pytest
from host_bench import Bench
from test_facets import CODE, file_of

from dohost.errors import JsException
from dohost.storage.facet_index import index_path


async def zeroed(bench: Bench, *, knows_facet: bool) -> Path:
    """Store something in a facet; leave zeros of its index, with or without its row in the catalog."""
    await bench.run(CODE)
    await bench.stub("r", class_name="Root").call(["a"], "increment")
    path, catalog = file_of(bench), bench.host.parts.catalog
    if not knows_facet:
        (facet,) = [key for key in await catalog.all_objects() if "." in key.object_id]
        await catalog.forget_object(facet)
    await bench.host.drain(grace_s=1)
    index = index_path(path)
    index.write_bytes(bytes(index.stat().st_size))
    await bench.restart(CODE)
    return index


async def test_the_object_goes_on_where_no_facet_of_it_was_durable(bench: Bench) -> None:
    await zeroed(bench, knows_facet=False)
    root = bench.stub("r", class_name="Root")
    assert await root.call(["a"], "value") is None
    assert await root.call(["a"], "increment") == 1
    await bench.restart(CODE)
    assert await bench.stub("r", class_name="Root").call(["a"], "value") == 1


async def test_facets_that_were_durable_are_not_forgotten(bench: Bench) -> None:
    index = await zeroed(bench, knows_facet=True)
    content = index.read_bytes()
    with pytest.raises(JsException, match="begins with zeros"):
        await bench.stub("r", class_name="Root").call(["a"], "increment")
    assert index.read_bytes() == content
