/** What the guides say against what is so: examples compile, tables are whole, links lead somewhere. */
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Limits, Site } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import { run } from '../harness/process.js'
import { withWorkspace } from '../harness/workspace.js'
import { repository } from '../package/dist.js'
import { allBlocks, guides } from './guides.js'

const read = (file: string) => readFileSync(join(repository, file), 'utf8')

describe('the guides', () => {
  it('have examples that compile', () =>
    withWorkspace(async ({ at, path }) => {
      const files = allBlocks.filter((block) => block.language === 'ts').map((block, i) => {
        const name = `${block.file.replaceAll('/', '-').replace(/\.md$/, '')}-${i}.ts`
        writeFileSync(at(name), block.text)
        return name
      })
      expect(files.length).toBeGreaterThan(3)
      symlinkSync(join(repository, 'node_modules'), at('node_modules'))
      mkdirSync(at('empty'))
      writeFileSync(at('package.json'), '{"type":"module"}')
      const strict = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: true, noEmit: true, resolveJsonModule: true }
      const entries = { 'shifter-sdk': 'src/index.ts', ...Object.fromEntries(['backends/chos', 'backends/docker', 'backends/vm'].map((name) => [`shifter-sdk/${name}`, `src/${name}/index.ts`])), 'shifter-sdk/wlm-testkit': 'src/wlm/testkit/index.ts' }
      const paths = Object.fromEntries(Object.entries(entries).map(([name, file]) => [name, [join(repository, file)]]))
      const compilerOptions = { ...strict, target: 'es2022', lib: ['es2023'], module: 'esnext', moduleResolution: 'bundler', moduleDetection: 'force', types: ['node'], paths }
      writeFileSync(at('tsconfig.json'), JSON.stringify({ compilerOptions, files }))
      const result = await run([process.execPath, join(repository, 'node_modules/typescript/bin/tsc'), '-p', path])
      expect(result.stdout).toBe('')
    }))

  it('have a gateway.json that is valid, and name every key of it with its default', () => {
    const [block] = allBlocks.filter((each) => each.language === 'json' && each.info === 'gateway.json')
    const site = Site.decode(JSON.parse(block?.text ?? ''))
    expect(site._tag, String(site)).toBe('Right')
    const text = read('docs/administrator.md')
    for (const key of Object.keys(Site.GatewayConfig.fields)) expect(text).toMatch(new RegExp(`^\\| \`${key}(\`|[.])`, 'm'))
    for (const [limit, value] of Object.entries(Limits.defaultPullLimits)) expect(text).toContain(`| \`limits.${limit}\` | \`${value}\` |`)
  })

  it('give a reason for every dependency', () => {
    const manifest = JSON.parse(read('package.json')) as Readonly<Record<string, Readonly<Record<string, string>> | undefined>>
    const text = read('docs/architecture.md')
    const names = ['dependencies', 'peerDependencies', 'devDependencies'].flatMap((kind) => Object.keys(manifest[kind] ?? {}))
    expect(names.filter((name) => !text.includes(`\`${name}\``))).toEqual([])
  })

  it.each(['docs-errors.mjs', 'docs-node.mjs'])('have the tables as they are: %s', async (script) => {
    const result = await run([process.execPath, join(repository, 'scripts', script), '--check'])
    expect(result.status, result.stderr).toBe(0)
  })

  it('link to what is there', () => {
    const broken = guides.flatMap((file) =>
      [...read(file).matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, target = '']) => target.replace(/#.*$/, ''))
        .filter((target) => target !== '' && !/^https?:/.test(target) && !existsSync(join(repository, dirname(file), target)))
        .map((target) => `${file}: ${target}`),
    )
    expect(broken).toEqual([])
  })
})
