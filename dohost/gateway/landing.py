"""Pages for people: `/`, `/docs` and `/problems/<slug>`. One page each, no script, nothing loaded."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from dohost.gateway.answers import html_answer
from dohost.gateway.config_tables import RouteConfig
from dohost.gateway.exchange import Exchange
from dohost.gateway.forward import Answer
from dohost.gateway.openapi import describe_api
from dohost.gateway.parts import Parts
from dohost.gateway.problems import PROBLEM_TYPES, Problem, problem
from dohost.gateway.status import circuits

STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #888; --good: #2a8f4f; --bad: #c43d3d; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; margin: 1rem 0 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.lead, .dim { color: var(--dim); } code { font: .9em ui-monospace, monospace; }
ul { list-style: none; padding: 0; margin: 0; }
li { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: .5rem 0; border-top: 1px solid var(--line); }
li > :first-child { flex: 1 1 16rem; overflow-wrap: anywhere; }
.closed { color: var(--good); } .open, .half-open { color: var(--bad); }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: .5rem; }
a { color: inherit; text-underline-offset: .2em; }
"""
EXAMPLE = """curl -X POST {origin}/api/aggregate \\
  -H 'Content-Type: application/json' \\
  -d '{{"calls":[{{"service":"users","method":"get","args":["alice"]}}]}}'

curl -X POST {origin}/graphql \\
  -H 'Content-Type: application/json' \\
  -d '{{"query":"{{ user(id: \\"alice\\") {{ name orders {{ total }} }} }}"}}'"""
PAGES = (
    ("/openapi.json", "API description (OpenAPI 3.1)"),
    ("/docs", "The same, to read"),
    ("/api/rate-limit/status", "What is left of your limit"),
    ("/api/circuit-breaker/status", "Circuit breakers"),
    ("/api/cache/stats", "Cache"),
    ("/api/versions", "API versions"),
    ("/health", "Health"),
    ("/metrics", "Metrics for Prometheus"),
)


async def home(parts: Parts, exchange: Exchange, parameters: Mapping[str, str]) -> Answer | Problem:
    """List the routes with links to try, the services with their breakers, and the other pages."""
    prefix = parts.config.builtin_prefix
    origin = f"http://{exchange.headers.get('host', 'localhost:8787')}"
    routes = "".join(_route_item(route) for route in parts.config.routes)
    services = "".join(
        f'<li><code>{escape(name)}</code><span class="{escape(str(told["state"]))}">'
        f"{escape(str(told['state']))}</span></li>"
        for name, told in circuits(parts).items()
    )
    pages = "".join(
        f'<li><a href="{prefix}{path}">{path}</a><span class="dim">{text}</span></li>'
        for path, text in PAGES
    )
    body = (
        "<h1>API gateway</h1>"
        '<p class="lead">Durable Object services behind one door: routed, limited per tenant, cached,'
        " guarded by circuit breakers, and federated in one GraphQL schema.</p>"
        f"<h2>Routes</h2><ul>{routes}</ul>"
        f"<h2>Services and their circuits</h2><ul>{services}</ul>"
        f"<h2>Try it</h2><pre><code>{escape(EXAMPLE.format(origin=origin + prefix))}</code></pre>"
        f"<h2>Pages</h2><ul>{pages}</ul>"
    )
    return html_answer(_page("API gateway", body))


async def docs(parts: Parts, exchange: Exchange, parameters: Mapping[str, str]) -> Answer | Problem:
    """List every operation of the API."""
    described = await describe_api(parts)
    paths = described["paths"]
    assert isinstance(paths, dict)
    items = "".join(
        f"<li><code>{verb.upper()} {escape(path)}</code>"
        f'<span class="dim">{escape(str(operation["summary"]))}</span></li>'
        for path, operations in sorted(paths.items())
        for verb, operation in operations.items()
    )
    link = f'<p><a href="{parts.config.builtin_prefix}/openapi.json">openapi.json</a></p>'
    return html_answer(_page("API", f"<h1>API</h1>{link}<ul>{items}</ul>"))


async def problem_page(
    parts: Parts, exchange: Exchange, parameters: Mapping[str, str]
) -> Answer | Problem:
    """Say what a problem type means: the page that `type` members point at."""
    kind = PROBLEM_TYPES.get(parameters["slug"])
    if kind is None:
        return problem("not-found", "There is no such problem type.")
    body = (
        f"<h1>{escape(kind.title)}</h1><p>{escape(kind.detail)}</p>"
        f'<p class="dim">Status {kind.status}. Each answer\'s <code>detail</code> says what happened'
        " that time, and its <code>requestId</code> finds it in the logs.</p>"
    )
    return html_answer(_page(kind.title, body))


def _route_item(route: RouteConfig) -> str:
    """Link what a browser can try; a pattern with parameters is only shown."""
    verb, _, pattern = route.pattern.rpartition(" ")
    target = pattern.removesuffix("*").removesuffix("/") or "/"
    shown = f"<code>{escape(route.pattern)}</code>"
    if "{" not in pattern and ":" not in pattern and verb in ("", "GET"):
        shown = f'<a href="{escape(target)}">{shown}</a>'
    return f'<li><span>{shown}</span><span class="dim">{escape(route.service)}</span></li>'


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )
