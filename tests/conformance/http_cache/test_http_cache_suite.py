"""The public suite passes but for what is decided otherwise here, each with its reason."""

from __future__ import annotations

import pytest

from tests.conformance.http_cache import suite

pytestmark = [pytest.mark.long, pytest.mark.timeout(420)]

FIRST_AGE = "of a list of ages the first counts, and what is no number is ignored (RFC 9111 §5.1)"
COOKIES = "answers that set cookies are not kept unless `store_cookies` says so"
CUT = "a body that is not as long as its Content-Length says is a bad gateway"
HUNG_UP = (
    "an origin that hangs up is a 502 of ours, in which the suite misses the origin's own field"
)
SURROGATE = "Surrogate-Control is no standard; CDN-Cache-Control (RFC 9213) is obeyed"
PARTS = "parts are served of what is kept whole; answers that are parts are not kept"
LANGUAGES = "values of Accept-Language are compared as text"
REQUIRED = {
    "304-etag-update-response-Content-Length": CUT,
    "304-etag-update-response-ETag": "a 304 about another version is not believed (RFC 9111 §4.3.4)",
    "304-etag-update-response-Set-Cookie": COOKIES,
    "age-parse-dup-0": FIRST_AGE,
    "age-parse-dup-0-twoline": FIRST_AGE,
    "age-parse-dup-old": FIRST_AGE,
    "age-parse-float": FIRST_AGE,
    "age-parse-negative": FIRST_AGE,
    "age-parse-nonnumeric": FIRST_AGE,
    "age-parse-numeric-parameter": FIRST_AGE,
    "age-parse-parameter": FIRST_AGE,
    "age-parse-prefix-twoline": FIRST_AGE,
    "headers-store-Content-Length": CUT,
    "headers-store-Set-Cookie": COOKIES,
    "stale-close-must-revalidate": HUNG_UP,
    "stale-close-no-cache": HUNG_UP,
    "stale-close-proxy-revalidate": HUNG_UP,
    "stale-close-s-maxage=2": HUNG_UP,
    "surrogate-fresh-cc-nostore": SURROGATE,
    "surrogate-max-age-0-expires": SURROGATE,
    "surrogate-max-age-long-cc-max-age": SURROGATE,
    "surrogate-no-store-cc-fresh": SURROGATE,
}
# Of tests of what a cache could do: beginnings of their names.
OPTIMAL = {
    "conditional-lm-fresh-no-lm": "what is newer than If-Modified-Since is sent (RFC 9111 §4.3.2)",
    "heuristic-599": "an unknown status has no lifetime of its own",
    "method-POST": "answers to POST are not kept",
    "other-set-cookie": COOKIES,
    "partial-store-partial": PARTS,
    "surrogate-": SURROGATE,
    "vary-normalise-lang": LANGUAGES,
}


def test_the_public_suite_passes_but_for_what_is_decided_otherwise() -> None:
    try:
        results = suite.run()
    except suite.Unavailable as missing:
        pytest.skip(f"HTTP cache suite: {missing}")
    assert len(results) >= 350
    failed = {name: each for name, each in results.items() if each.problem is not None}
    required = {name: each.problem for name, each in failed.items() if each.kind == "required"}
    assert set(required) == set(REQUIRED), required
    optimal = {name for name, each in failed.items() if each.kind == "optimal"}
    assert not {name for name in optimal if not name.startswith(tuple(OPTIMAL))}
    assert sum(each.problem is None for each in results.values()) >= 270
