/** The rooms of docs/architecture.md are held by .dependency-cruiser.cjs: here is shown that it finds what breaks them. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { run } from '../harness/process.js'
import { withWorkspace } from '../harness/workspace.js'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const cruise = [process.execPath, join(repository, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs'), '--config', join(repository, '.dependency-cruiser.cjs')]

/** A tree with one small module for each room, and the given imports in it. */
const violations = (imports: ReadonlyArray<readonly [from: string, what: string]>): Promise<readonly string[]> =>
  withWorkspace(async ({ path }) => {
    const rooms = [
      'src/index.ts', 'src/live.ts', 'src/core/a.ts', 'src/core/b.ts', 'src/backends/docker/index.ts', 'src/backends/vm/index.ts', 'src/transports/local/index.ts',
      'src/catalog/sqlite/index.ts', 'src/udi/index.ts', 'src/wlm/slurm/index.ts', 'src/wlm/pbs/index.ts', 'src/gateway/index.ts', 'src/bin/gateway.ts',
      'examples/one/main.ts', 'examples/two/main.ts',
    ]
    for (const file of rooms) {
      const lines = imports.filter(([from]) => from === file).map(([, what], i) => `import * as m${i} from "${what}"\nexport const v${i} = m${i}\n`)
      mkdirSync(dirname(join(path, file)), { recursive: true })
      writeFileSync(join(path, file), `${lines.join('')}export const it = 1\n`)
    }
    mkdirSync(join(path, 'formats'))
    writeFileSync(join(path, 'formats/errors.json'), '{}')
    writeFileSync(join(path, 'package.json'), JSON.stringify({ name: 'x', version: '0.0.0', type: 'module' }))
    writeFileSync(
      join(path, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: { module: 'ESNext', moduleResolution: 'bundler', resolveJsonModule: true, paths: { 'shifter-sdk': ['./src/index.ts'] } } }),
    )
    const { stdout, stderr } = await run([...cruise, '--output-type', 'json', 'src', 'examples'], { cwd: path })
    expect(stdout, stderr).not.toBe('')
    const report = JSON.parse(stdout) as { readonly summary: { readonly violations: ReadonlyArray<{ readonly from: string; readonly to: string; readonly rule: { readonly name: string } }> } }
    return report.summary.violations.map((each) => `${each.rule.name}: ${each.from} -> ${each.to}`).sort()
  })

describe('rooms', () => {
  it('hold in this repository', async () => {
    const result = await run([...cruise, 'src', 'examples'], { cwd: repository })
    expect(result.status, result.stdout + result.stderr).toBe(0)
  })

  it('allow what the table allows', async () => {
    expect(
      await violations([
        ['src/core/a.ts', './b.js'],
        ['src/core/a.ts', '../../formats/errors.json'],
        ['src/backends/docker/index.ts', '../../core/a.js'],
        ['src/transports/local/index.ts', '../../core/a.js'],
        ['src/live.ts', './backends/docker/index.js'],
        ['src/index.ts', './live.js'],
        ['src/bin/gateway.ts', '../gateway/index.js'],
        ['examples/one/main.ts', 'shifter-sdk'],
        ['examples/one/main.ts', '../../package.json'],
      ]),
    ).toEqual([])
  })

  const forbidden: ReadonlyArray<readonly [rule: string, from: string, what: string]> = [
    ['core', 'src/core/a.ts', '../backends/docker/index.js'],
    ['core', 'src/core/b.ts', '../udi/index.js'],
    ['backends', 'src/backends/docker/index.ts', '../vm/index.js'],
    ['backends', 'src/backends/vm/index.ts', '../../transports/local/index.js'],
    ['transports', 'src/transports/local/index.ts', '../../catalog/sqlite/index.js'],
    ['catalog', 'src/catalog/sqlite/index.ts', '../../../formats/errors.json'],
    ['wlm', 'src/wlm/slurm/index.ts', '../pbs/index.js'],
    ['udi', 'src/udi/index.ts', '../wlm/slurm/index.js'],
    ['gateway', 'src/gateway/index.ts', '../backends/vm/index.js'],
    ['face', 'src/live.ts', '../formats/errors.json'],
    ['examples', 'examples/one/main.ts', '../../src/core/a.js'],
    ['examples', 'examples/two/main.ts', '../one/main.js'],
    ['examples-by-name', 'examples/two/main.ts', '../../src/index.js'],
    ['no-unresolvable', 'src/core/a.ts', './nowhere.js'],
  ]
  it('refuse everything else, each by its rule', async () => {
    const found = await violations(forbidden.map(([, from, what]) => [from, what]))
    const told = (rule: string, from: string) => found.some((each) => each.startsWith(`${rule}: ${from} -> `))
    const missed = forbidden.filter(([rule, from]) => !told(rule, from))
    expect(missed, found.join('\n')).toEqual([])
  })

  it('refuse circles', async () => {
    const found = await violations([
      ['src/core/a.ts', './b.js'],
      ['src/core/b.ts', './a.js'],
    ])
    expect(found.every((each) => each.startsWith('no-circular: '))).toBe(true)
    expect(found.length).toBeGreaterThan(0)
  })
})
