/** Which of PBS's programs the adapter starts, and with what: those of an installation that tells what it was started with. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as Effect from 'effect/Effect'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { adapter, type PbsOptions } from '../../src/wlm/pbs/index.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('pbs-programs')
afterEach(() => { vi.unstubAllEnvs() })

/** An installation whose qsub tells its own place as the server of a job's id, and fails with what it was told of PBS. */
const installed = (name: string): string => {
  const root = work.at(name)
  mkdirSync(join(root, 'bin'), { recursive: true })
  for (const [program, script] of [['qsub', `echo "1.${name}"`], ['qstat', 'env | grep -a "^PBS_" | sort >&2; exit 1']] as const) {
    writeFileSync(join(root, 'bin', program), `#!/bin/sh\n${script}\n`)
    chmodSync(join(root, 'bin', program), 0o755)
  }
  return root
}
const conf = (text: string): string => {
  writeFileSync(work.at('pbs.conf'), text)
  return work.at('pbs.conf')
}
const jobs = (options: PbsOptions = {}) => {
  const { batch } = adapter(options)
  if (batch === undefined) throw new Error('the adapter has no jobs')
  return batch
}
const submit = (options?: PbsOptions) => jobs(options).submit({ name: 'x', command: ['true'], directory: '/', output: '/dev/null' })
const submitted = (options?: PbsOptions) => Effect.runPromise(submit(options))

describe("PBS's programs", () => {
  it('are those of the configuration that PBS_CONF_FILE names', async () => {
    const [one, two] = [installed('one'), installed('two')]
    vi.stubEnv('PBS_CONF_FILE', conf(`PBS_SERVER=srv\n#PBS_EXEC=${two}\nPBS_EXEC=${one}/\n`))
    expect(await submitted()).toBe('1.one')
    // As PBS reads it: blanks around a line are nothing, and of two lines the last one counts.
    conf(`PBS_EXEC=${two}\n \tPBS_EXEC=${one} \r\n`)
    expect(await submitted()).toBe('1.one')
    // What gateway.json says goes before.
    expect(await submitted({ programs: join(two, 'bin') })).toBe('1.two')
  })

  it('are told of it, and of no other variable', async () => {
    const root = installed('told')
    const file = conf(`PBS_EXEC=${root}\n`)
    const told = (options?: PbsOptions) => Effect.runPromise(Effect.flip(jobs(options).state('1.srv'))).then(({ message }) => message.split('. ')[0])
    vi.stubEnv('PBS_CONF_FILE', file)
    vi.stubEnv('PBS_SERVER', 'other')
    expect(await told()).toBe(`PBS's qstat does not tell of job 1.srv: PBS_CONF_FILE=${file}`)
    expect(await told({ programs: join(root, 'bin') })).toBe(`PBS's qstat does not tell of job 1.srv: PBS_CONF_FILE=${file}`)
    vi.stubEnv('PBS_CONF_FILE', undefined)
    expect(await told({ programs: join(root, 'bin') })).toBe("PBS's qstat does not tell of job 1.srv: it said nothing")
  })

  it('are not guessed where the file that is named is not there', async () => {
    vi.stubEnv('PBS_CONF_FILE', work.at('none'))
    const { code, message } = await Effect.runPromise(Effect.flip(submit()))
    expect(code).toBe('WLM_MISSING')
    expect(message).toBe(`The file that PBS_CONF_FILE names can't be read: ENOENT: no such file or directory, open '${work.at('none')}'. Name PBS's configuration in it, or unset it where that is /etc/pbs.conf.`)
    vi.stubEnv('PBS_CONF_FILE', '')
    expect(await submitted({ programs: join(installed('empty'), 'bin') })).toBe('1.empty')
  })
})
