/** A native program that ends without its last word is told as what it met. */
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { failure } from '../harness/gateway.js'
import { DEFAULT_PREFIX } from '../harness/native.js'
import { writeLayout } from '../harness/ociLayout.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('native')
const programs = ['shifter-merge', 'shifter-verify', 'shifter-inflate']
let made = 0

beforeAll(() => { writeLayout(work.at('layout'), { tag: 'v', layers: [[{ name: 'a', type: 'file', data: 'a' }]] }) })

/** A pull where one of the programs is a script. */
const pulledWith = (program: string, script: string) => {
  const directory = work.at(`site${made++}`)
  const bin = join(directory, 'prefix/bin')
  mkdirSync(bin, { recursive: true })
  for (const name of programs) {
    const real = join(DEFAULT_PREFIX, 'bin', name)
    writeFileSync(join(bin, name), `#!/bin/sh\n${name === program ? script.replace('REAL', real) : `exec ${real} "$@"`}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  const site = testSite(directory)
  return failure(pullImage(`oci:${work.at('layout')}:v`, { config: { ...site.config, prefix: join(directory, 'prefix') } })).then((error) => {
    expect(readdirSync(site.imagePath)).toEqual([])
    return error
  })
}

describe.each(['shifter-merge', 'shifter-verify'])('%s', (program) => {
  it.each([
    ['without memory', 'echo "shifter: RESOURCE: out of memory." >&2; exit 1', 'RESOURCE', 'could not go on: out of memory'],
    ['killed', 'kill -9 $$', 'RESOURCE', 'was killed'],
    ['without a word', 'exit 3', 'INTERNAL', 'ended with status 3: it said nothing'],
  ])('%s', async (_, script, code, said) => {
    const error = await pulledWith(program, script)
    expect(error.code, error.message).toBe(code)
    expect(error.message).toContain(`${program} ${said}`)
  })
})
