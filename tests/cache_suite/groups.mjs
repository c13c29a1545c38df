// Prints the tests of the suite in the folder given, as JSON: what is required of a cache, and what is optimal.
import { existsSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const folder = process.argv[2]
const load = async file => (await import(pathToFileURL(`${folder}/tests/${file}`))).default
const groups = [...await load('index.mjs')]
if (existsSync(`${folder}/tests/surrogate-control.mjs`)) groups.push(await load('surrogate-control.mjs'))
console.log(JSON.stringify(groups.map(group => ({
  name: group.name,
  tests: group.tests.map(test => ({
    id: test.id,
    name: test.name,
    kind: test.kind || 'required',
    depends_on: test.depends_on || [],
    browser_only: test.browser_only === true
  }))
}))))
