"""The page that a browser gets at `/graphql`: an editor, variables, the answer and the query plan.

One document that loads nothing: its only script and style are in it, and the content security policy names
the script by hash. It asks the same path that served it, so it works under any prefix. A query and
variables in the page's URL are filled in, so that a link can show an example; they are never run by
themselves, or opening a link could change something.
"""

from __future__ import annotations

import base64
import hashlib

from dohost.gateway.forward import Answer

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --panel: #f6f7f9; --line: #d5d9e0; --text: #1b2230;
  --dim: #5d6678; --accent: #2456c8; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --back: #12151b; --panel: #1a1f28; --line: #323a48;
  --text: #e4e8ef; --dim: #98a2b5; --accent: #86aaff; --bad: #ff9089; } }
* { box-sizing: border-box; }
body { margin: 0; height: 100vh; display: flex; flex-direction: column; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; padding: .6rem 1rem;
  border-bottom: 1px solid var(--line); }
h1 { font-size: 1.05rem; margin: 0; flex: 1; }
main { flex: 1; min-height: 0; display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
section { display: flex; flex-direction: column; min-width: 0; min-height: 0; }
section + section { border-left: 1px solid var(--line); background: var(--panel); }
label, .tabs { min-height: 2.1rem; padding: .35rem 1rem; font-size: .85rem; color: var(--dim); border-bottom: 1px solid var(--line); }
textarea, pre { margin: 0; padding: .8rem 1rem; border: 0; background: transparent; color: inherit;
  font: 13px/1.55 ui-monospace, monospace; tab-size: 2; }
textarea { resize: none; width: 100%; outline-offset: -2px; } #query { flex: 3; min-height: 9rem; }
#variables { flex: 1; min-height: 4.5rem; } label + #variables { border-top: 0; }
label.second { border-top: 1px solid var(--line); }
pre { flex: 1; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; min-height: 9rem; }
pre.bad { color: var(--bad); }
button { font: inherit; cursor: pointer; border-radius: .4rem; }
#run { padding: .3rem 1rem; border: 1px solid var(--accent); background: var(--accent); color: var(--back); font-weight: 600; }
.tabs { display: flex; gap: .25rem; padding: .2rem .75rem; }
.tabs button { padding: .1rem .6rem; border: 0; background: none; color: var(--dim); font-size: .85rem; }
.tabs button[aria-selected=true] { color: var(--text); background: var(--line); }
:focus-visible { outline: 2px solid var(--accent); }
#told { color: var(--dim); font-size: .85rem; }
@media (max-width: 700px) { body { height: auto; min-height: 100vh; } main { grid-template-columns: minmax(0, 1fr); }
  section + section { border-left: 0; border-top: 1px solid var(--line); } }
"""
_SCRIPT = """
const at = id => document.getElementById(id);
const url = location.pathname, shown = { result: "", plan: "" };
let tab = "result", failed = {}, asked = 0;
const given = new URLSearchParams(location.search);
at("query").value = given.get("query") || at("query").value;
at("variables").value = given.get("variables") || "";

function show(name) {
  tab = name;
  for (const each of ["result", "plan"]) at("tab-" + each).setAttribute("aria-selected", each === name);
  at("answer").textContent = shown[name];
  at("answer").className = failed[name] ? "bad" : "";
  at("answer").setAttribute("aria-labelledby", "tab-" + name);
}

async function ask(path, body) {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(body), headers: {
    "Content-Type": "application/json",
    "Accept": "application/graphql-response+json, application/json, application/problem+json" } });
  const text = await response.text();
  try { return { status: response.status, json: JSON.parse(text) }; }
  catch { return { status: response.status, json: text }; }
}

function body() {
  const text = at("variables").value.trim();
  return { query: at("query").value, variables: text ? JSON.parse(text) : undefined };
}

async function run() {
  const mine = ++asked, began = performance.now();
  at("told").textContent = "Running…";
  failed = {};
  try {
    const sent = body();
    const answer = await ask(url, sent);
    const took = Math.round(performance.now() - began);
    if (mine !== asked) return;
    at("told").textContent = answer.status + " in " + took + " ms";
    shown.result = JSON.stringify(answer.json, null, 2);
    failed.result = answer.status >= 400;
    if (tab === "plan") await explain();
    else { shown.plan = ""; show("result"); }
  } catch (error) {
    if (mine !== asked) return;
    at("told").textContent = "Not sent";
    shown.result = error instanceof SyntaxError ? "The variables are not JSON: " + error.message : String(error);
    failed.result = true;
    show("result");
  }
}

async function explain() {
  try {
    const answer = await ask(url + "?plan=1", body());
    const plan = answer.json.extensions && answer.json.extensions.plan;
    shown.plan = plan || JSON.stringify(answer.json, null, 2);
    failed.plan = !plan;
  } catch (error) { shown.plan = String(error); failed.plan = true; }
  show("plan");
}

at("run").addEventListener("click", run);
at("tab-result").addEventListener("click", () => show("result"));
at("tab-plan").addEventListener("click", explain);
addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
});
show("result");
"""
_EXAMPLE = "# Ctrl+Enter runs the query. This one lists what can be asked.\n{\n  __schema {\n    queryType {\n      fields {\n        name\n        type { name kind ofType { name kind } }\n      }\n    }\n  }\n}\n"
_PAGE = f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>GraphQL</title><style>{_STYLE}</style></head><body>
<header><h1>GraphQL</h1><span id="told" role="status"></span><button id="run" type="button">Run</button></header>
<main><section><label for="query">Query</label>
<textarea id="query" spellcheck="false" autocapitalize="off" autocomplete="off">{_EXAMPLE}</textarea>
<label class="second" for="variables">Variables (JSON)</label>
<textarea id="variables" spellcheck="false" autocapitalize="off" autocomplete="off"></textarea></section>
<section><div class="tabs" role="tablist">
<button id="tab-result" role="tab" type="button" aria-controls="answer">Result</button>
<button id="tab-plan" role="tab" type="button" aria-controls="answer">Plan</button></div>
<pre id="answer" role="tabpanel" tabindex="0"></pre></section></main>
<script>{_SCRIPT}</script></body></html>
"""


def page_answer() -> Answer:
    """Return the page; it may run its own script and speak to its own origin, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline';"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = (
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("vary", "Accept"),
    )
    return Answer(status=200, headers=headers, body=_PAGE.encode())
