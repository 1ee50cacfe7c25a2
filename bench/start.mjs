/**
 * Starts of programs in an image: fresh against a minimal program that makes the same system calls, joined against a bare setuid program, alone
 * and 128 at once; and what preparing a root and taking it down takes. Interleaved, so that a busy machine is busy for all.
 *
 * @module
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { directory, file, writeImage } from './images.mjs'

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url))
const SHIFTERIMG = join(REPOSITORY, 'dist/bin/shifterimg.js')
export const PREFIX = '/opt/shifter-sdk-bench'
const BUSYBOX = '/usr/bin/busybox'
const RANKS = 128
/** Everybody's last account: an ordinary one that every machine has. */
const USER = { uid: '65534', gid: '65534' }

const USAGE = `usage: npm run bench -- start [--rounds N] [--json]
  --rounds N   of every start (default 60; those of ${RANKS} at once a sixth of it)`

export const run = (argv, options = {}) => {
  const [program, ...args] = argv
  const { status, error, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', ...options })
  if (error !== undefined) throw new Error(`${program}: ${error.message} (scripts/setup.sh test installs what is missing)`)
  if (status !== 0) throw new Error(`${argv.join(' ')} ended with status ${status}\n${stderr}`)
  return stdout
}

/** The programs, below a prefix of their own, with a configuration. */
export const install = () => {
  const build = join(REPOSITORY, 'build-native-bench')
  if (!existsSync(join(build, 'build.ninja'))) {
    run(['meson', 'setup', build, join(REPOSITORY, 'native'), `--prefix=${PREFIX}`, `--sysconfdir=${PREFIX}/etc`, '--buildtype=release', '-Dtests=false'])
  }
  run(['ninja', '-C', build])
  run(['meson', 'install', '-C', build, '--no-rebuild'])
  for (const path of ['etc/shifter', 'udiMount', 'loopMount', 'images', 'run']) mkdirSync(join(PREFIX, path), { recursive: true, mode: 0o755 })
  const settings = {
    udiMount: `${PREFIX}/udiMount`, loopMount: `${PREFIX}/loopMount`, imagePath: `${PREFIX}/images`, udiRootPath: PREFIX, etcPath: '/etc', rootfsType: 'tmpfs',
    cpPath: '/bin/cp', mvPath: '/bin/mv', chmodPath: '/bin/chmod', ddPath: '/bin/dd', modprobePath: '/bin/true', insmodPath: '/bin/true',
    allowLibcPwdCalls: '1', populateEtcDynamically: '1',
  }
  writeFileSync(join(PREFIX, 'etc/shifter/udiRoot.conf'), Object.entries(settings).map(([key, value]) => `${key}=${value}\n`).join(''))
  writeFileSync(join(PREFIX, 'etc/shifter/runtime.conf'), `imageOwner=0\nrunDirectory=${PREFIX}/run\n`)
}

/** Publishes an image of one static program. */
export const publish = async (work) => {
  const layer = function* () {
    yield directory('bin')
    yield* file('bin/true', readFileSync(BUSYBOX), 0o755)
    yield directory('etc')
    yield Buffer.alloc(1024)
  }
  await writeImage([layer], join(work, 'layout'))
  mkdirSync(join(work, 'state'), { mode: 0o700 })
  writeFileSync(join(work, 'gateway.json'), JSON.stringify({ version: 1, stateDirectory: join(work, 'state'), prefix: PREFIX, systems: { bench: { imagePath: join(PREFIX, 'images') } } }))
  const record = JSON.parse(run([process.execPath, SHIFTERIMG, '--config', join(work, 'gateway.json'), 'pull', '--json', `oci:${join(work, 'layout')}:latest`]).trimEnd().split('\n').at(-1))
  return record.id
}

/** A C program of this directory; setuid root when it has to be. */
const compile = (name, mode) => {
  const binary = join(PREFIX, 'bin', `bench-${name}`)
  run(['gcc', '-O2', '-o', binary, join(REPOSITORY, 'bench/native', `${name}.c`)])
  chmodSync(binary, mode)
  return binary
}

export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted.length % 2 === 1 ? sorted[(sorted.length - 1) / 2] : (sorted[sorted.length / 2 - 1] + sorted[sorted.length / 2]) / 2
}

/** What a measurement was asked for, and a directory for it; nothing where only its usage was. */
export const begin = (args, usage, usual, why) => {
  const { values } = parseArgs({ args, options: { rounds: { type: 'string', default: usual }, json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } } })
  if (values.help) {
    console.log(usage)
    return undefined
  }
  const rounds = Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds is a number from 1 on: ${values.rounds}`)
  if (process.getuid?.() !== 0) throw new Error(`run this as root: it ${why}`)
  if (!existsSync(SHIFTERIMG)) throw new Error(`${SHIFTERIMG} is missing: npm run build`)
  mkdirSync('/var/lib/shifter-sdk-bench', { recursive: true, mode: 0o755 })
  return { rounds, json: values.json, work: mkdtempSync('/var/lib/shifter-sdk-bench/') }
}

export const main = async (args) => {
  const asked = begin(args, USAGE, '60', 'installs setuid programs and prepares roots')
  if (asked === undefined) return
  const { json, rounds, work } = asked
  const setupRoot = join(PREFIX, 'sbin/setupRoot')
  const unsetupRoot = join(PREFIX, 'sbin/unsetupRoot')
  try {
    install()
    const id = await publish(work)
    const starts = compile('starts', 0o755)
    const bare = compile('bare', 0o4755)
    const minimal = compile('minimal', 0o4755)
    const image = join(PREFIX, 'images', `${id}.squashfs`)
    const shifter = [join(PREFIX, 'bin/shifter'), `--image=id:${id}`, '/bin/true']
    const setUp = [setupRoot, '--job=bench', '-U', USER.uid, '-G', USER.gid, 'id', id]
    const tearDown = [unsetupRoot, '--job=bench']

    /** Medians in milliseconds, of commands by name. */
    const time = (commands, { uid, gid } = USER, together = 1, count = rounds, env = {}) => {
      const argv = Object.values(commands).flatMap((command, i) => (i === 0 ? command : ['--', ...command]))
      const lines = run([starts, uid, gid, String(count), String(together), ...argv], { env: { PATH: '/usr/bin:/bin', ...env } }).trimEnd().split('\n')
      return Object.fromEntries(Object.keys(commands).map((name, i) => [name, median(lines[i].split(' ').map(Number))]))
    }

    const fresh = time({ minimal: [minimal, image, join(PREFIX, 'udiMount'), '/bin/true'], shifter })
    const root = { uid: '0', gid: '0' }
    const prepared = time({ setupRoot: setUp, unsetupRoot: tearDown }, root)
    run(setUp)
    const env = { SHIFTER_JOB_ID: 'bench' }
    const nothing = [bare, BUSYBOX, 'true']
    const joined = time({ bare: nothing, shifter }, USER, 1, rounds * 3, env)
    const ranks = time({ bare: nothing, shifter }, USER, RANKS, Math.max(3, Math.round(rounds / 6)), env)
    run(tearDown)

    const row = (what, value, against) => console.log(`${what.padEnd(44)} ${value.toFixed(2).padStart(8)} ms${against === undefined ? '' : `   ${(value / against).toFixed(2)} times`}`)
    row('minimal program, same system calls', fresh.minimal)
    row('fresh start', fresh.shifter, fresh.minimal)
    row('bare setuid program', joined.bare)
    row('joined start', joined.shifter, joined.bare)
    row(`bare setuid program, ${RANKS} at once`, ranks.bare)
    row(`joined start, ${RANKS} at once`, ranks.shifter, ranks.bare)
    row('setupRoot', prepared.setupRoot)
    row('unsetupRoot', prepared.unsetupRoot)
    if (json) console.log(JSON.stringify({ fresh, joined, ranks, prepared }))
  } finally {
    if (existsSync(unsetupRoot)) spawnSync(unsetupRoot, ['--job=bench'])
    rmSync(work, { recursive: true, force: true })
    rmSync(PREFIX, { recursive: true, force: true })
  }
}
