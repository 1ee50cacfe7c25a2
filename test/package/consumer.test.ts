/** The packed package, installed by npm into a project of a user's own. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { writeLayout } from '../harness/ociLayout.js'
import { run, runOk } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { built, repository } from './dist.js'

const manifest = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
  readonly version: string
  readonly devDependencies: Readonly<Record<string, string>>
}
const exact = (name: string): string => `${name}@${manifest.devDependencies[name] ?? ''}`

describe('a consumer of the packed package', () => {
  const workspace = useWorkspace('consumer')
  let packed: readonly string[] = []
  const node = (...args: string[]) => run([process.execPath, ...args], { cwd: workspace.path })
  const write = (name: string, text: string) => {
    writeFileSync(workspace.at(name), text)
  }

  beforeAll(async () => {
    await built()
    await runOk(['npm', 'pack', '--silent', '--pack-destination', workspace.path], { cwd: repository })
    const [tarball = ''] = readdirSync(workspace.path).filter((name) => name.endsWith('.tgz'))
    packed = (await runOk(['tar', '-tzf', workspace.at(tarball)])).stdout.trim().split('\n')
    write('package.json', JSON.stringify({ name: 'consumer', version: '1.0.0', private: true }))
    // The types of Node belong to every TypeScript project on Node; the peers are the user's own.
    const install = ['npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', `./${tarball}`, ...['effect', '@effect/platform', '@types/node'].map(exact)]
    await runOk(install, { cwd: workspace.path, timeoutMs: 240_000 })
  })

  it('gets what a user needs, and nothing else', () => {
    const top = new Set(packed.map((file) => file.split('/').slice(1, 2)[0]))
    expect([...top].sort()).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'dist', 'docs', 'formats', 'native', 'package.json']))
    expect(packed.filter((file) => /^package\/(src|test|examples|bench|scripts\/(?!build-native\.sh)|node_modules|docs\/site)\/|\.test\.|\/build-native(?!\.sh)/.test(file))).toEqual([])
  })

  const said = 'function docker:docker.io/library/debian:12 oci chos\n'
  it('imports it from an ES module', async () => {
    write('esm.mjs', `
      import { pullImage, ImageRef } from "shifter-sdk"
      import { chosSource } from "shifter-sdk/backends/chos"
      import { layoutSource } from "shifter-sdk/backends/docker"
      console.log(typeof pullImage, ImageRef.parseOrThrow("debian:12").canonical, layoutSource.types.join(), chosSource().types.join())`)
    expect(await node('esm.mjs')).toEqual({ status: 0, signal: null, stdout: said, stderr: '' })
  })

  it('requires it from CommonJS', async () => {
    write('cjs.cjs', `
      const { pullImage, ImageRef } = require("shifter-sdk")
      const { chosSource } = require("shifter-sdk/backends/chos")
      const { layoutSource } = require("shifter-sdk/backends/docker")
      console.log(typeof pullImage, ImageRef.parseOrThrow("debian:12").canonical, layoutSource.types.join(), chosSource().types.join())`)
    expect(await node('cjs.cjs')).toEqual({ status: 0, signal: null, stdout: said, stderr: '' })
  })

  it('gets the errors of the table from both', async () => {
    const script = `
      pullImage("local:/nowhere", { config: { version: 1, stateDirectory: ${JSON.stringify(workspace.at('state'))}, systems: { one: { imagePath: ${JSON.stringify(workspace.at('images'))} } } } })
        .catch((error) => console.log(error._tag, error.code, Errors.isShifterError(error)))`
    write('error.mjs', `import { pullImage, Errors } from "shifter-sdk"; ${script}`)
    write('error.cjs', `const { pullImage, Errors } = require("shifter-sdk"); ${script}`)
    mkdirSync(workspace.at('images'))
    for (const file of ['error.mjs', 'error.cjs']) {
      expect(await node(file)).toMatchObject({ status: 0, stdout: 'GatewayError SOURCE_UNSUPPORTED true\n' })
    }
  })

  it('builds the native programs of the package and pulls with them', async () => {
    const built = await runOk(['npx', 'shifter-build-native'], { cwd: workspace.path, timeoutMs: 240_000 })
    const ofSlurm = existsSync('/usr/include/slurm/spank.h') ? ['shifter_slurm.so', 'shifter-task'] : []
    const programs = ['shifter', 'shifter-userns', 'setupRoot', 'unsetupRoot', 'shifter-check', 'shifter-job', ...ofSlurm, 'shifter-pbs', 'shifter-merge', 'shifter-inflate', 'shifter-verify',
      'shifter-unsquash', 'shifter-tree', 'shifter-open', 'shifter-confined', 'shifter-disk', 'shifter-disk-guest']
    const [, named = ''] = /^build-native: made (.*) in \//m.exec(built.stdout) ?? []
    expect(named.split(/, | and /)).toEqual(programs)
    writeLayout(workspace.at('layout'), { tag: 'v1', layers: [[{ name: 'f', type: 'file', data: 'x' }]] })
    const site = { version: 1, stateDirectory: workspace.at('state'), systems: { one: { imagePath: workspace.at('images') } } }
    const reference = `oci:${workspace.at('layout')}:v1`
    const script = `pullImage(${JSON.stringify(reference)}, { config: ${JSON.stringify(site)} }).then((image) => console.log(image.entries))`
    write('pull.mjs', `import { pullImage } from "shifter-sdk"; ${script}`)
    write('pull.cjs', `const { pullImage } = require("shifter-sdk"); ${script}`)
    for (const file of ['pull.mjs', 'pull.cjs']) expect(await node(file)).toEqual({ status: 0, signal: null, stdout: '2\n', stderr: '' })
  })

  it('compiles against its types, strictly and with the libraries checked, as both kinds of module', async () => {
    const text = `
      import * as Effect from "effect/Effect"
      import { Errors, Gateway, gatewayLayer, pullImage, Site, type ErrorCode, type PublishedImage } from "shifter-sdk"
      import { chosSource } from "shifter-sdk/backends/chos"
      import { layoutSource } from "shifter-sdk/backends/docker"

      export const types: ReadonlyArray<string> = [...layoutSource.types, ...chosSource().types]
      export const pull = async (reference: string): Promise<PublishedImage | undefined> => {
        try {
          return await pullImage(reference, { signal: AbortSignal.timeout(1000), onProgress: (event) => { console.log(event._tag) } })
        } catch (error) {
          if (Errors.isShifterError(error) && error.code === "IMAGE_NOT_FOUND") return undefined
          throw error
        }
      }
      export const ids = Effect.gen(function* () {
        const site = yield* Site.load()
        const { images } = yield* Effect.provide(Effect.flatMap(Gateway.Gateway, (gateway) => gateway.list()), gatewayLayer(site))
        return images.map(({ record }) => record.id)
      })
      export const known: ErrorCode = "IMAGE_NOT_FOUND"
      // @ts-expect-error codes are a closed list
      export const unknown: ErrorCode = "NO_SUCH_CODE"
      // @ts-expect-error a reference is a text
      void pullImage(1)`
    write('types.mts', text)
    write('types.cts', text)
    write('tsconfig.json', JSON.stringify({
      compilerOptions: { strict: true, module: 'nodenext', target: 'es2022', lib: ['es2023'], types: ['node'], skipLibCheck: false, noEmit: true },
      files: ['types.mts', 'types.cts'],
    }))
    const result = await node(join(repository, 'node_modules/typescript/bin/tsc'), '-p', '.')
    expect(result.stdout.split('\n').slice(0, 20).join('\n')).toBe('')
    expect(result.status).toBe(0)
  })

  it('is refused what is not exported', async () => {
    const closed = ['dist/index.js', 'dist/index.cjs', 'core/ImageRef', 'core/ImageRef.js', 'src/index.ts', 'backends/docker/index.js', 'formats/errors.json']
    const script = (load: string) => `
      for (const path of ${JSON.stringify(closed)}) {
        try { ${load}; console.log(path) } catch (error) { if (error.code !== "ERR_PACKAGE_PATH_NOT_EXPORTED") throw error }
      }`
    write('closed.mjs', script('await import(`shifter-sdk/${path}`)'))
    write('closed.cjs', script('require(`shifter-sdk/${path}`)'))
    for (const file of ['closed.mjs', 'closed.cjs']) expect(await node(file)).toMatchObject({ status: 0, stdout: '', stderr: '' })
  })

  it('has one copy of effect', async () => {
    const { stdout } = await runOk(['npm', 'ls', 'effect', '@effect/platform', '--all', '--json'], { cwd: workspace.path })
    const versions = new Map<string, Set<string>>()
    const walk = (dependencies: Readonly<Record<string, unknown>> | undefined): void => {
      for (const [name, value] of Object.entries(dependencies ?? {})) {
        const { version, dependencies: below } = value as { readonly version?: string; readonly dependencies?: Record<string, unknown> }
        if (version !== undefined) versions.set(name, new Set([...(versions.get(name) ?? []), version]))
        walk(below)
      }
    }
    walk((JSON.parse(stdout) as { readonly dependencies: Record<string, unknown> }).dependencies)
    expect([...(versions.get('effect') ?? [])]).toEqual([manifest.devDependencies['effect']])
    expect([...(versions.get('@effect/platform') ?? [])]).toEqual([manifest.devDependencies['@effect/platform']])
    const copies = await runOk(['find', 'node_modules', '-type', 'd', '-path', '*/node_modules/effect', '-o', '-type', 'd', '-path', 'node_modules/effect'], { cwd: workspace.path })
    expect(copies.stdout.trim().split('\n')).toEqual(['node_modules/effect'])
  })

  it('has shifterimg', async () => {
    const bin = workspace.at('node_modules/.bin/shifterimg')
    expect(await run([bin, '--version'])).toMatchObject({ status: 0, stdout: `shifterimg ${manifest.version}\n`, stderr: '' })
    expect((await run([bin, 'help'])).stdout).toContain('pull REFERENCE')
    expect(await run([bin, 'nonsense'])).toMatchObject({ status: 2, stdout: '' })
  })
})
