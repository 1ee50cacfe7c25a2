/** The profile scripts, by which `$CHOS` and `~/.chos` name the image of who names none, in the shells that read them at a login. */
import { chmodSync, copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { chosSite, pulled, writeBusybox, writeTree } from '../../harness/chosSite.js'
import { DEFAULT_PREFIX, SHARED_IMAGE_PATH } from '../../harness/native.js'
import { becoming, own, userA } from '../../harness/people.js'
import { run, runOk } from '../../harness/process.js'
import { useWorkspace } from '../../harness/workspace.js'
import { built, repository } from '../../package/dist.js'

const work = useWorkspace('chos-profile')
const RUN = `${DEFAULT_PREFIX}/bin/shifter cat /etc/os-release`
const INSIDE = { status: 0, stdout: 'PRETTY_NAME="tree"\n', stderr: '' }
const SHOW = 'printenv SHIFTER_IMAGEREQUEST'
const NOTHING = { status: 1, stdout: '' }
type Environment = Readonly<Record<string, string>>

beforeAll(async () => {
  await built()
  const tree = work.at('os/tree')
  writeBusybox(tree)
  writeTree(tree, { 'etc/os-release': 'PRETTY_NAME="tree"\n' })
  const { config } = chosSite(work.at('site'), `%SHELLS\na:${tree}\n`)
  await pulled('chos:a', { ...config, systems: { test: { imagePath: SHARED_IMAGE_PATH } } })
  // As a site installs them: files that everyone may read; and as Debian's csh finds one.
  mkdirSync(work.at('profile.d'))
  mkdirSync(work.at('cshrc.d'))
  for (const name of ['shifter-chos.sh', 'shifter-chos.csh']) {
    copyFileSync(join(repository, 'docs', name), work.at('profile.d', name))
    chmodSync(work.at('profile.d', name), 0o644)
  }
  symlinkSync('/etc/profile.d/shifter-chos.csh', work.at('cshrc.d/shifter-chos.csh'))
})

/** Runs a command where the scripts are installed, which they are for it alone. */
const installed = (argv: readonly string[], env: Environment, input?: string) =>
  run(['unshare', '--mount', 'sh', '-ec', 'mount --bind "$1" /etc/profile.d; mount --bind "$2" /etc/csh/cshrc.d; shift 2; cd /; exec "$@"', 'sh', work.at('profile.d'), work.at('cshrc.d'), ...argv],
    { env: { PATH: process.env['PATH'], ...env }, input })

describe.each([
  ['dash', '-euc', '. /etc/profile.d/shifter-chos.sh'],
  ['bash', '-euc', '. /etc/profile.d/shifter-chos.sh'],
  ['zsh', '-euc', '. /etc/profile.d/shifter-chos.sh'],
  ['tcsh', '-fec', 'source /etc/profile.d/shifter-chos.csh'],
  ['bsd-csh', '-fec', 'source /etc/profile.d/shifter-chos.csh'],
])('the profile script of %s', (shell, options, read) => {
  let home: string
  let file: string
  const at = (env: Environment, command = SHOW) => installed([...becoming(userA), shell, options, `${read}\n${command}`], env)
  const login = (env: Environment, command = SHOW) => at({ HOME: home, ...env }, command)
  const chosen = (content: string | Buffer) => { writeFileSync(file, content); return login({}) }
  const refused = (why: string) => ({ ...NOTHING, stderr: expect.stringContaining(why) as string })
  const named = (name: string) => ({ status: 0, stdout: `chos:${name}\n`, stderr: '' })

  beforeAll(() => {
    home = work.at(`home-${shell}`)
    file = join(home, '.chos')
    mkdirSync(home)
    own(home, userA, 0o755)
  })

  it('names the image by $CHOS, else by the file', async () => {
    expect(await login({ CHOS: 'a' }, RUN)).toMatchObject(INSIDE)
    expect((await login({}, RUN)).stderr).toContain('no image is named')
    writeFileSync(file, 'a')
    expect(await login({}, RUN)).toMatchObject(INSIDE)
    expect(await login({ CHOS: '' })).toMatchObject(named('a'))
    expect((await login({ CHOS: 'no-such' }, RUN)).stderr).toContain('chos:no-such')
    for (const none of ['local', 'root', '/']) expect(await login({ CHOS: none })).toMatchObject(NOTHING)
    // Nothing else of it is left in the shell.
    expect(await login({ CHOS: 'a' }, 'set | grep "^shifter_"')).toMatchObject(NOTHING)
  })

  it('goes behind whatever else names an image', async () => {
    expect(await login({ CHOS: 'no-such' }, `${DEFAULT_PREFIX}/bin/shifter --image=chos:a cat /etc/os-release`)).toMatchObject(INSIDE)
    expect(await login({ CHOS: 'a', SHIFTER_IMAGEREQUEST: 'docker:x' })).toMatchObject({ stdout: 'docker:x\n' })
    expect(await login({ CHOS: 'a', SHIFTER_IMAGEREQUEST: 'docker:x\n* `id`' })).toMatchObject({ stdout: 'docker:x\n* `id`\n', stderr: '' })
    expect(await login({ CHOS: 'a', SHIFTER_IMAGE: '\u00ff' })).toMatchObject(NOTHING)
    expect(await login({ CHOS: 'a', SHIFTER_IMAGEREQUEST: '', SHIFTER_IMAGE: '' })).toMatchObject(named('a'))
  })

  it.each(['a b  c', '$(echo a >&2)`id`;*', `it's "q" !! !a`, '!', '-e', '-f /etc/passwd', '(', ')', '&&', '=', '*', '~', '{a,b}', '[a-z]', '\\n', 'a\\', '$HOME', '$x:q', '%s', '#a', 'ü', '<a>|b'])('takes %s as it is', async (name) => {
    expect(await login({ CHOS: name })).toMatchObject(named(name))
    expect(await chosen(` \t${name} \t\nb\n`)).toMatchObject(named(name))
  })

  it('neither waits for the file nor runs what it says, whatever it is', async () => {
    expect(await chosen(Buffer.from([0x61, 0, 0xff, 0x0a]))).toMatchObject(named('a\ufffd'))
    expect(await chosen('\nb\n')).toMatchObject(NOTHING)
    expect(await chosen('\u001b[31ma')).toMatchObject(refused('is no text'))
    expect(await login({ CHOS: 'a\nb' })).toMatchObject(refused('is no text'))
    expect(await chosen('x'.repeat(300_000))).toMatchObject(refused('is longer than 80 characters'))
    chmodSync(file, 0)
    expect(await login({})).toMatchObject({ ...NOTHING, stderr: '' })
    rmSync(file)
    writeFileSync(join(home, 'mine'), 'a\n')
    for (const [target, what] of [['mine', named('a')], ['/etc/shadow', NOTHING], ['/dev/zero', NOTHING], ['.', NOTHING], ['.chos', NOTHING]] as const) {
      symlinkSync(target, file)
      expect([target, await login({})]).toMatchObject([target, what])
      rmSync(file)
    }
    await runOk(['mkfifo', '-m', '644', file])
    expect(await login({})).toMatchObject({ ...NOTHING, stderr: '' })
    rmSync(file)
  })

  it('leaves root alone, and who has no home directory', async () => {
    expect(await installed([shell, options, `${read}\n${SHOW}`], { HOME: home, CHOS: 'a' })).toMatchObject(NOTHING)
    expect(await at({})).toMatchObject(NOTHING)
  })
})

it.each(['tcsh', 'bsd-csh'])('%s finds its script by itself', async (shell) => {
  expect(await installed([...becoming(userA), shell, '-c', RUN], { HOME: userA.home, CHOS: 'a' })).toMatchObject(INSIDE)
})
