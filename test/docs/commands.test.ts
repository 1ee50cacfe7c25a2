/** Every command of the guides is run: in order, a guide at a time, on a site made for it. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureTestAccounts } from '../harness/accounts.js'
import { writeBusybox, writeTree } from '../harness/chosSite.js'
import { DEFAULT_PREFIX, SHARED_IMAGE_PATH } from '../harness/native.js'
import { writeLayout } from '../harness/ociLayout.js'
import { run } from '../harness/process.js'
import { useWorkspace } from '../harness/workspace.js'
import { busyboxRoot } from '../native/fixture.js'
import { built, repository } from '../package/dist.js'
import { allBlocks } from './guides.js'
import { inFormat } from '../harness/disks.js'
import { FILE_SYSTEM_SIZE, makeDisk, makeFileSystem, makeSystem, MIB } from '../native/disks/make.js'

/** Commands of blocks marked `no-test`, and why they are not run here. */
const notRun: ReadonlyArray<readonly [command: RegExp, why: string]> = [
  [/^apt-get install /, 'installs system packages; scripts/setup.sh does it for the tests'],
  [/^useradd /, 'makes an account of the machine'],
  [/^install -d /, 'makes directories of the machine'],
  [/^runuser -u shifter /, 'needs the account that the guide makes'],
  [/^install -d \/opt\/site|^cd \/opt\/site|^cp -L |^ldd /, 'makes directories of the machine; test/native/modules.test.ts does the same in its own'],
  [/^(srun|mpiexec) |^shifter .*--module=/, 'needs an image and modules of a site; test/native/modules.test.ts runs such a program'],
  [/^ssh-keygen |^scp |^awk .* >> \/etc\/shifter\/known_hosts$/, 'needs a cluster, and makes files of a site; test/transports/ssh.test.ts makes its own'],
  [/^qsub |^qmgr |^shifter-gateway wlm (render|check) pbs/, 'needs a complex of PBS; test/wlm/pbs.test.ts does the same where there is one'],
  [/^shifter-gateway wlm (render|check) slurm/, 'needs a cluster; test/wlm/slurm.test.ts runs the same of the guide of Slurm'],
  [/^npm run demo$/, 'installs a setuid program and makes accounts; it is run by itself'],
  [/^npm test$/, 'is what runs this'],
  [/^scripts\/setup\.sh test$|^npm run (lint|rooms|typecheck|build|docs)$/, 'is a step of scripts/test.sh'],
  [/^npm run build:native$/, 'the administrator’s guide builds the native programs with the same commands'],
  [/^npx vitest run /, 'is what runs this'],
  [/^npx shifter-build-native$|^shifterimg pull docker:debian:12$|^build-native\/shifter /, 'is what test/package and test/native/userns.test.ts do, the latter as an account without rights'],
  [/^npm run (chaos|test:slurm)/, 'takes long; npm test runs the short form of the same tests'],
  [/^npm run fuzz /, 'takes minutes; scripts/test.sh runs its short form'],
  [/^npm run bench /, 'takes minutes and measures the machine'],
  [/^npm run fuzz /, 'takes minutes; its short form is a step of scripts/test.sh'],
]

const commandsOf = (text: string): readonly string[] => text.split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))

describe('the guides', () => {
  const workspace = useWorkspace('guides')
  /** Root's own, as the native programs ask of a configuration. */
  let etc = ''
  /** Who `alice` is here. */
  let user = ''

  beforeAll(async () => {
    await built()
    const { userA } = await ensureTestAccounts()
    user = userA.name
    etc = mkdtempSync('/opt/shifter-sdk-guides-')
    chmodSync(etc, 0o755)
    writeLayout(workspace.at('layout'), { tag: 'v1', layers: [busyboxRoot()], config: { Env: ['PATH=/bin'], Cmd: ['sh'] } })
    writeFileSync(
      workspace.at('gateway.json'),
      JSON.stringify({ version: 1, stateDirectory: workspace.at('state'), prefix: DEFAULT_PREFIX, systems: { test: { imagePath: SHARED_IMAGE_PATH } }, server: { authentication: 'mock' }, chos: { shells: workspace.at('chos') } }),
    )
    // The tree of the guide on CHOS.
    writeBusybox(workspace.at('os/debian'))
    writeTree(workspace.at('os/debian'), { 'etc/os-release': 'PRETTY_NAME="tree"\n', 'etc/passwd': ['/local/etc/passwd'], 'var/tmp': ['/local/var/tmp'] })
    writeFileSync(workspace.at('chos'), `%SHELLS\ndebian:${workspace.at('os/debian')}\n`, { mode: 0o644 })
    // The disks of the guide on virtual machines.
    mkdirSync(workspace.at('vm'))
    const system = makeSystem(workspace.at('vm/tree'), { 'usr/bin/cat': '-> ../../bin/busybox' })
    await makeFileSystem('ext4', system, workspace.at('vm/root'))
    await inFormat('qcow2', workspace.at('vm/root'), workspace.at('vm/rocky9.qcow2'))
    await makeDisk(workspace.at('vm/two-systems.raw'), 'gpt', [{ at: 1, file: workspace.at('vm/root') }, { at: 1 + FILE_SYSTEM_SIZE / MIB, file: workspace.at('vm/root') }])
    const program = (name: string, line: string) => {
      mkdirSync(workspace.at('bin'), { recursive: true })
      writeFileSync(workspace.at('bin', name), `#!/bin/sh\nexec ${line} "$@"\n`, { mode: 0o755 })
    }
    program('shifterimg', `'${process.execPath}' '${join(repository, 'dist/bin/shifterimg.js')}' --config '${workspace.at('gateway.json')}'`)
    program('shifter-gateway', `'${process.execPath}' '${join(repository, 'dist/bin/shifter-gateway.js')}' --config '${workspace.at('gateway.json')}'`)
    program('shifter', `setpriv --reuid=${userA.uid} --regid=${userA.gid} --init-groups --inh-caps=-all '${DEFAULT_PREFIX}/bin/shifter'`)
    program('shifter-tree', `'${DEFAULT_PREFIX}/bin/shifter-tree'`)
    program('shifter-check', `'${DEFAULT_PREFIX}/bin/shifter-check'`)
    for (const name of ['setupRoot', 'unsetupRoot']) program(name, `'${DEFAULT_PREFIX}/sbin/${name}'`)
  })
  afterAll(() => {
    if (etc !== '') rmSync(etc, { recursive: true, force: true })
  })

  const tested = [...new Set(allBlocks.filter((block) => block.language === 'sh' && block.info === '').map((block) => block.file))]
  it.each(tested)('say commands that work: %s', { timeout: 180_000 }, async (file) => {
    const blocks = allBlocks.filter((block) => block.file === file && block.language === 'sh' && block.info === '')
    const work = workspace.at(file.replaceAll('/', '-'))
    mkdirSync(work)
    for (const folder of ['native', 'formats']) cpSync(join(repository, folder), join(work, folder), { recursive: true })
    const lines = blocks.flatMap((block) => commandsOf(block.text))
    // The one image that guides name is made here instead of fetched.
    const layout = `${workspace.at('layout')}:v1`
    const script = lines.map((line) => line.replaceAll('docker:debian:12', `oci:${layout}`).replaceAll('docker debian:12', `oci ${layout}`).replaceAll('/srv/os', workspace.at('os')).replaceAll('/srv/vm', workspace.at('vm')).replaceAll('alice', user))
    const told = script.flatMap((line, i) => [`echo "guide-line ${i}" >&2`, line])
    const result = await run(['sh', '-eu', '-c', told.join('\n')], {
      cwd: work,
      env: { PATH: `${workspace.at('bin')}:${process.env['PATH'] ?? ''}`, HOME: work, LANG: 'C.UTF-8', DESTDIR: join(work, 'stage'), MANPATH: join(DEFAULT_PREFIX, 'share/man'), PAGER: 'cat' },
      timeoutMs: 170_000,
    })
    const reached = Number(/guide-line (\d+)(?![\s\S]*guide-line)/.exec(result.stderr)?.[1] ?? -1)
    expect(result.status, `${file}: ${lines[reached] ?? 'nothing ran'}\n${result.stderr}${result.stdout}`).toBe(0)
    expect(reached).toBe(lines.length - 1)
  })

  // Blocks marked `cluster` are run by test/wlm/slurm.test.ts.
  it('give a reason for every command that is not run', () => {
    const blocks = allBlocks.filter((block) => block.language === 'sh' && block.info !== '' && !block.info.startsWith('cluster'))
    const reasons = new Map<string, string>()
    for (const block of blocks) {
      expect(block.info, `${block.file}:${block.line}`).toBe('no-test')
      for (const command of commandsOf(block.text)) {
        const reason = notRun.find(([pattern]) => pattern.test(command))?.[1]
        expect(reason, `${block.file}:${block.line}: no reason is given for not running: ${command}`).toBeDefined()
        reasons.set(command, reason ?? '')
      }
    }
    for (const [command, reason] of reasons) console.log(`not run: ${command} (${reason})`)
    const used = notRun.filter(([pattern]) => ![...reasons.keys()].some((command) => pattern.test(command)))
    expect(used.map(([pattern]) => String(pattern)), 'reasons for commands that no guide has').toEqual([])
  })

  it('have configuration files that the programs accept', async () => {
    const blocks = allBlocks.filter((block) => block.language === 'ini')
    const whole = blocks.filter(({ info }) => info.endsWith('.conf') && !info.startsWith('added'))
    expect(whole.map((block) => block.info)).toEqual(['udiRoot.conf', 'runtime.conf'])
    const understood = async (added?: (typeof blocks)[number]): Promise<object> => {
      for (const { info, text } of whole) writeFileSync(join(etc, info), added?.info === `added to ${info}` ? `${text}${added.text}` : text, { mode: 0o644 })
      const { stdout } = await run([join(DEFAULT_PREFIX, 'bin/shifter-check'), 'config', '--json', etc])
      return JSON.parse(stdout) as object
    }
    expect(await understood()).toMatchObject({ warnings: [], wrong: [] })
    // What they add names programs that are not here.
    for (const block of blocks) {
      if (whole.includes(block)) continue
      expect(block.info, `${block.file}:${block.line}`).toMatch(/^added to (udiRoot|runtime)\.conf$/)
      expect(await understood(block), `${block.file}:${block.line}`).toMatchObject({ warnings: [] })
    }
  })
})
