/** The completions of `shifterimg`, read by the shells they are for. */
import { existsSync, writeFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { commands } from '../../examples/shifterimg/usage.js'
import { writeLayout } from '../harness/ociLayout.js'
import { run, runOk } from '../harness/process.js'
import { startShifterimg } from '../harness/shifterimg.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'
import { built, repository } from '../package/dist.js'

const work = useWorkspace('completions')
const program = `${repository}/dist/bin/shifterimg.js`
let scripts = ''
let reference = ''

beforeAll(async () => {
  await built()
  const site = testSite(work.path)
  for (const shell of ['bash', 'zsh', 'fish']) {
    writeFileSync(work.at(`_shifterimg.${shell}`), (await runOk([process.execPath, program, 'completions', shell])).stdout)
  }
  writeLayout(work.at('layout'), { tag: 'v1', layers: [[{ name: 'f', type: 'file', data: 'x' }]] })
  reference = `oci:${work.at('layout')}:v1`
  expect((await startShifterimg(site, work.path, ['pull', reference]).ended).status).toBe(0)
  // A name that the scripts can call, as an installed one would be.
  writeFileSync(work.at('gateway.json'), JSON.stringify(site.config))
  writeFileSync(work.at('shifterimg'), `#!/bin/sh\nexec '${process.execPath}' '${program}' --config '${work.at('gateway.json')}' "$@"\n`, { mode: 0o755 })
  scripts = `${work.path}:${process.env['PATH'] ?? ''}`
})

/** What bash offers for the last of some words. */
const bash = async (...words: readonly string[]): Promise<readonly string[]> => {
  const script = `source ${work.at('_shifterimg.bash')}; COMP_LINE="$*"; COMP_POINT=\${#COMP_LINE}; _shifterimg; printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout } = await runOk(['bash', '-c', script, 'bash', ...words], { env: { PATH: scripts }, cwd: work.path })
  return stdout.split('\n').filter((line) => line !== '')
}

describe('completions', () => {
  it('in bash are the commands, their options, and the images that are there', async () => {
    expect(await bash('shifterimg', '')).toEqual([...commands.map(({ name }) => name), '--help', '--version'])
    expect(await bash('shifterimg', 'pu')).toEqual(['pull'])
    expect(await bash('shifterimg', 'pull', '--pl')).toEqual(['--platform'])
    expect(await bash('shifterimg', 'images', '--pl')).toEqual([])
    expect(await bash('shifterimg', 'completions', 'f')).toEqual(['fish'])
    expect(await bash('shifterimg', 'inspect', 'oci')).toEqual([reference])
    // As readline takes words apart: what stands before the last colon stays as it is.
    expect(await bash('shifterimg', 'inspect', `oci:${work.path}`)).toEqual([reference.slice('oci:'.length)])
    expect(await bash('shifterimg', 'inspect', 'docker:')).toEqual([])
    expect(await bash('shifterimg', '--config', `${work.path}/gate`)).toEqual([work.at('gateway.json')])
  })

  it('in bash take no name of an image for a program', async () => {
    const named = `oci:${work.at('l$(touch${IFS}ran)`touch ran`')}:v1`
    writeLayout(named.slice('oci:'.length, -':v1'.length), { tag: 'v1', layers: [[{ name: 'f', type: 'file', data: 'y' }]] })
    const site = testSite(work.path)
    expect((await startShifterimg(site, work.path, ['pull', named]).ended).status).toBe(0)
    expect(await bash('shifterimg', 'inspect', 'oci')).toEqual([reference])
    expect(existsSync(work.at('ran'))).toBe(false)
    expect((await startShifterimg(site, work.path, ['rm', named]).ended).status).toBe(0)
  })

  it('in fish are those too', async () => {
    const offered = async (line: string) => {
      const { stdout } = await runOk(['fish', '--no-config', '-c', `source ${work.at('_shifterimg.fish')}; complete -C '${line}'`], { env: { PATH: scripts, HOME: work.path, TERM: 'dumb' } })
      return stdout.trim().split('\n').map((entry) => entry.split('\t')[0])
    }
    expect([...(await offered('shifterimg '))].sort()).toEqual(commands.map(({ name }) => name).sort())
    expect(await offered('shifterimg pull --pl')).toEqual(['--platform'])
    expect(await offered('shifterimg inspect oci')).toEqual([reference])
  })

  it('in zsh are a function that loads', async () => {
    const script = `fpath=(${work.path} $fpath); autoload -Uz compinit; compinit -D -u; source ${work.at('_shifterimg.zsh')} 2>/dev/null; print -r -- $+functions[_shifterimg] $+functions[_shifterimg_images]`
    const { stdout } = await run(['zsh', '-f', '-c', script], { env: { PATH: scripts, HOME: work.path, TERM: 'dumb' } })
    expect(stdout.trim()).toBe('1 1')
    await runOk(['zsh', '-n', work.at('_shifterimg.zsh')])
  })

  it('for another shell are refused', async () => {
    const { status, stderr } = await run([process.execPath, program, 'completions', 'csh'])
    expect(status).toBe(2)
    expect(stderr).toContain('bash, zsh, fish')
  })
})
