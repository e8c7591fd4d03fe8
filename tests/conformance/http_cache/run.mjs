// node run.mjs PACKAGE PORT: runs the suite in PACKAGE against 127.0.0.1:PORT, prints {id: [kind, problem]}.
import { pathToFileURL } from 'node:url'
import { createRequire } from 'node:module'

const [root, port] = process.argv.slice(2)
const load = path => import(pathToFileURL(`${root}/${path}`))
const fetch = createRequire(`${root}/cli.mjs`)('node-fetch')
const { runTests, getResults } = await load('client/runner.mjs')
const suites = (await load('tests/index.mjs')).default
suites.push((await load('tests/surrogate-control.mjs')).default)

console.log = () => {}
await runTests(suites, fetch, false, `http://127.0.0.1:${port}`)
const found = getResults()
const results = {}
for (const test of suites.flatMap(suite => suite.tests)) {
  if (!(test.id in found)) continue
  const outcome = found[test.id]
  results[test.id] = { kind: test.kind ?? 'required', problem: outcome === true ? null : String(outcome[1]) }
}
process.stdout.write(JSON.stringify(results), () => process.exit(0))
