"""Halves of characters never leave: not in bodies, forms or blobs, and they never end in an error."""

from __future__ import annotations

import pytest
from workers import FormData, Request, Response
from workers.blob import Blob
from workers.usv_text import utf8, whole_text

HALF, MARK = "a\ud800b\udfffc", "a\ufffdb\ufffdc"


@pytest.mark.parametrize("text", ["", "plain", "grüße", "\U0001f600", "\0"])
def test_whole_text_stays_as_it_is(text: str) -> None:
    assert whole_text(text) == text
    assert utf8(text) == text.encode()


async def test_a_body_has_a_mark_for_each_half() -> None:
    assert await Response(HALF).text() == MARK
    assert await Response(HALF).bytes() == MARK.encode()
    assert Response(HALF).host_body() == MARK.encode()
    assert await Request("http://x/", method="POST", body=HALF).bytes() == MARK.encode()
    body = Response(HALF).body
    assert body is not None
    assert await body.read_all() == MARK.encode()


async def test_blobs_and_forms_have_too() -> None:
    assert await Blob([HALF]).text() == MARK
    form = FormData()
    form[HALF] = HALF
    sent = await Response(form).bytes()
    assert sent.count(MARK.encode()) == 2
