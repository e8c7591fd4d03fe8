"""A key set over HTTP: no more is read than may be, and it lives as long as its server says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from workers import ReadableStream, Response

from dohost.gateway import jwks_fetch
from dohost.gateway.jwks_fetch import JWKS_BYTES_MAX, fetch_jwks

URL = "https://issuer.test/keys"


def answer(monkeypatch: pytest.MonkeyPatch, response: Response) -> None:
    async def fetch(url: str, **options: object) -> Response:
        assert (url, options) == (URL, {"redirect": "manual"})
        return response

    monkeypatch.setattr(jwks_fetch, "fetch", fetch)


@pytest.mark.parametrize(
    ("field", "age_s"),
    [
        (None, None),
        ("max-age=120", 120),
        ("public, max-age=7", 7),
        ("no-cache, max-age=600", 0),
        ("no-store", 0),
        ("max-age=x", 0),
    ],
)
async def test_a_key_set_lives_as_long_as_its_server_says(
    monkeypatch: pytest.MonkeyPatch, field: str | None, age_s: int | None
) -> None:
    headers = {} if field is None else {"Cache-Control": field}
    answer(monkeypatch, Response('{"keys": []}', headers=headers))
    document = await fetch_jwks(URL)
    assert document.body == b'{"keys": []}'
    assert document.max_age_s == age_s


async def test_an_endless_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            assert sent * 65_536 < 2 * JWKS_BYTES_MAX, "nobody stops reading"
            yield bytes(65_536)

    answer(monkeypatch, Response(ReadableStream.from_async_iterable(endless())))
    with pytest.raises(OSError, match="more than 262144 bytes"):
        await fetch_jwks(URL)


@pytest.mark.parametrize("status", [204, 302, 404, 503])
async def test_what_is_no_200_is_no_key_set(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    answer(monkeypatch, Response(None, status=status))
    with pytest.raises(OSError, match=f"answered {status}"):
        await fetch_jwks(URL)
