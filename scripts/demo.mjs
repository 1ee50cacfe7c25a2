#!/usr/bin/env node
/**
 * The whole way of an image on one machine: made, served, pulled as a service account, run by an ordinary user.
 *
 *   npm run demo                          a small image made here from Debian's packages
 *   npm run demo -- docker:alpine:3.20    an image of the network
 *   node scripts/demo.mjs --remove        undo everything
 *
 * Run as root. Everything it installs is below /opt/shifter-sdk-demo, but for the accounts `shifter` and `researcher`.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync, chownSync, copyFileSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync,
  renameSync, rmSync, statSync, symlinkSync, writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url))
const PREFIX = '/opt/shifter-sdk-demo'
const NATIVE_BUILD = join(REPOSITORY, 'build-native-demo')
const SERVICE = 'shifter'
const PERSON = 'researcher'
/** What this script made that lies outside PREFIX, so that --remove takes away no more than that. */
const NOTES = join(PREFIX, 'demo.json')
const HELPER = join(PREFIX, 'bin/shifter')
const ETC = join(PREFIX, 'etc/shifter')
const LIB = join(PREFIX, 'lib/shifter-sdk')
const SHIFTERIMG = join(PREFIX, 'bin/shifterimg')

const step = (text) => console.log(process.stdout.isTTY ? `\x1b[1m==>\x1b[0m ${text}` : `==> ${text}`)

class DemoError extends Error {}
const fail = (text) => {
  throw new DemoError(text)
}

/** Run a program to its end; its output is shown only when it fails. */
const run = (argv, options = {}) => {
  const [program, ...args] = argv
  const result = spawnSync(program, args, { maxBuffer: 1 << 30, encoding: 'utf8', ...options })
  if (result.error !== undefined) fail(`${program} can't be run: ${result.error.message} (try: scripts/setup.sh demo)`)
  if (result.status !== 0) {
    const said = `${result.stdout ?? ''}${result.stderr ?? ''}`.trimEnd()
    if (said !== '') console.error(said.split('\n').slice(-25).join('\n'))
    fail(`'${argv.join(' ')}' ended with ${result.signal ?? `status ${result.status}`}`)
  }
  return result
}

/** The beginning of a command line that becomes an account, with nothing of root's environment. */
const become = (account) => [
  'setpriv', `--reuid=${account.uid}`, `--regid=${account.gid}`, '--init-groups', '--inh-caps=-all', '--reset-env',
]

const findAccount = (name) => {
  const { status, stdout } = spawnSync('getent', ['passwd', name], { encoding: 'utf8' })
  if (status !== 0) return undefined
  const [, , uid, gid, , home] = stdout.trim().split(':')
  return { name, uid: Number(uid), gid: Number(gid), home }
}

const readNotes = () => (existsSync(NOTES) ? JSON.parse(readFileSync(NOTES, 'utf8')) : { accounts: [] })
const writeNotes = (notes) => writeFileSync(NOTES, `${JSON.stringify(notes)}\n`, { mode: 0o644 })

const ensureAccount = (name, options) => {
  const known = findAccount(name)
  if (known !== undefined) return known
  run(['useradd', ...options, name])
  const notes = readNotes()
  writeNotes({ ...notes, accounts: [...notes.accounts, name] })
  return findAccount(name) ?? fail(`useradd made no account ${name}`)
}

const directory = (path, mode, owner) => {
  mkdirSync(path, { recursive: true })
  chmodSync(path, mode)
  if (owner !== undefined) chownSync(path, owner.uid, owner.gid)
}

// --- what is built ---------------------------------------------------------------------------------------------------

const newest = (path) => {
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.mtimeMs
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name))))
}

const buildJavaScript = () => {
  const bin = join(REPOSITORY, 'dist/bin/shifterimg.js')
  const sources = ['src', 'examples/shifterimg', 'formats'].map((name) => join(REPOSITORY, name)).filter(existsSync)
  if (existsSync(bin) && Math.max(...sources.map(newest)) <= statSync(bin).mtimeMs) return
  step('building the JavaScript (npm run build)')
  run(['npm', 'run', 'build'], { cwd: REPOSITORY })
  if (!existsSync(bin)) fail(`npm run build made no ${bin}`)
}

const buildNative = () => {
  step(`building the native programs and installing them below ${PREFIX} (shifter is setuid root)`)
  if (!existsSync(join(NATIVE_BUILD, 'build.ninja'))) {
    run([
      'meson', 'setup', NATIVE_BUILD, join(REPOSITORY, 'native'), `--prefix=${PREFIX}`, `--sysconfdir=${PREFIX}/etc`,
      '--buildtype=release', '-Dtests=false',
    ])
  }
  run(['ninja', '-C', NATIVE_BUILD])
  run(['meson', 'install', '-C', NATIVE_BUILD, '--no-rebuild'])
  const { uid, mode } = statSync(HELPER)
  if (uid !== 0 || (mode & 0o4000) === 0) fail(`${HELPER} was not installed setuid root`)
}

/** Directories of the packages a package needs, itself included, as Node would find them. */
const packageClosure = (name, from = REPOSITORY, found = new Map()) => {
  for (let at = from; ; at = dirname(at)) {
    const dir = join(at, 'node_modules', name)
    if (existsSync(join(dir, 'package.json'))) {
      if (found.has(dir)) return found
      const manifest = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'))
      found.set(dir, name)
      for (const needed of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) packageClosure(needed, dir, found)
      return found
    }
    // Bindings of other platforms are optional and absent.
    if (at === dirname(at)) return found
  }
}

/** A copy that the service account can read: the checkout may lie where only root may go. */
const installJavaScript = (service) => {
  rmSync(LIB, { recursive: true, force: true })
  directory(LIB, 0o755)
  const copy = (from, to) => cpSync(from, to, { recursive: true, dereference: true })
  for (const name of ['package.json', 'dist', 'formats']) copy(join(REPOSITORY, name), join(LIB, name))
  // What is not part of the bundle: the catalogue's database binding, which is native code, and the Docker client.
  for (const dir of [...packageClosure('@libsql/client').keys(), ...packageClosure('dockerode').keys()]) copy(dir, join(LIB, dir.slice(REPOSITORY.length)))
  run(['chmod', '-R', 'u=rwX,go=rX', LIB])
  let node = process.execPath
  if (spawnSync(...split([...become(service), node, '--version']), { cwd: '/' }).status !== 0) {
    node = join(LIB, 'node')
    copyFileSync(process.execPath, node)
    chmodSync(node, 0o755)
  }
  // A short name for the person who tries it.
  const quoted = [node, join(LIB, 'dist/bin/shifterimg.js'), '--config', join(ETC, 'gateway.json')].map((word) => `'${word}'`)
  writeFileSync(SHIFTERIMG, `#!/bin/sh\nexec ${quoted.join(' ')} "$@"\n`)
  chmodSync(SHIFTERIMG, 0o755)
}

const split = ([program, ...args]) => [program, args]

const configure = (service, images, state, plainHttpHosts) => {
  for (const name of ['', 'etc', 'etc/shifter', 'etc/shifter/etc_files', 'var', 'var/udiMount', 'var/loopMount']) directory(join(PREFIX, name), 0o755)
  directory(images, 0o755, service)
  directory(state, 0o700, service)
  const text = (name, lines) => {
    // Renamed into place: somebody may be starting a program in the meantime.
    writeFileSync(join(ETC, `${name}.new`), `${lines.join('\n')}\n`, { mode: 0o644 })
    renameSync(join(ETC, `${name}.new`), join(ETC, name))
  }
  text('udiRoot.conf', [
    `udiMount=${PREFIX}/var/udiMount`,
    `loopMount=${PREFIX}/var/loopMount`,
    `imagePath=${images}`,
    `udiRootPath=${PREFIX}`,
    `etcPath=${ETC}/etc_files`,
    'rootfsType=tmpfs',
    'cpPath=/bin/cp', 'mvPath=/bin/mv', 'chmodPath=/bin/chmod', 'ddPath=/bin/dd',
    'modprobePath=/bin/true', 'insmodPath=/bin/true',
    'allowLibcPwdCalls=1',
    'populateEtcDynamically=1',
    'defaultImageType=docker',
    'system=demo',
  ])
  text('runtime.conf', [`imageOwner=${service.uid}`])
  const gateway = {
    version: 1,
    stateDirectory: state,
    prefix: PREFIX,
    defaultSystem: 'demo',
    systems: { demo: { imagePath: images } },
    registries: Object.fromEntries(plainHttpHosts.map((host) => [host, { plainHttp: true }])),
  }
  text('gateway.json', [JSON.stringify(gateway, undefined, 2)])
}

// --- the image -------------------------------------------------------------------------------------------------------

/** Packages and the libraries they need, as .deb files in a directory: `name -> file`. */
const downloadPackages = (dir, seeds) => {
  const files = new Map()
  let wanted = seeds
  while (wanted.length > 0) {
    const get = () => spawnSync(...split(['apt-get', '-qq', '-o', 'APT::Sandbox::User=root', 'download', ...wanted]), { cwd: dir, encoding: 'utf8' })
    let result = get()
    if (result.status !== 0) {
      // A fresh machine or an old list: packages that moved on are no longer on the server.
      run(['apt-get', '-qq', 'update'])
      result = get()
    }
    if (result.status !== 0) fail(`apt-get can't download ${wanted.join(' ')}: ${result.stderr.trim().split('\n').pop()}`)
    for (const file of readdirSync(dir).filter((name) => name.endsWith('.deb'))) files.set(file.split('_')[0], join(dir, file))
    const needed = wanted.flatMap((name) => {
      const { stdout } = run(['dpkg-deb', '--field', files.get(name), 'Pre-Depends', 'Depends'])
      return stdout
        .split('\n').map((line) => line.replace(/^\s*(Pre-)?Depends:/, '')).join(',').split(',')
        .map((text) => text.split('|')[0].replace(/[(:].*/, '').trim())
    })
    // Libraries are enough to run programs; what else packages ask for is for installing them.
    wanted = [...new Set(needed)].filter((name) => name.startsWith('lib') && !files.has(name))
  }
  return files
}

/** The tar of a layer: packages unpacked over each other the way dpkg would on a machine with a merged /usr. */
const packageLayer = (root, debs, keepLinks) => {
  directory(root, 0o755)
  const aliases = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'].filter((name) => lstatSync(`/${name}`, { throwIfNoEntry: false })?.isSymbolicLink())
  for (const name of aliases) {
    const target = readlinkSync(`/${name}`).replace(/^\//, '')
    mkdirSync(join(root, target), { recursive: true })
    symlinkSync(target, join(root, name))
  }
  for (const deb of debs) {
    const contents = spawnSync('dpkg-deb', ['--fsys-tarfile', deb], { maxBuffer: 1 << 30 })
    if (contents.status !== 0) fail(`dpkg-deb can't read ${deb}`)
    run(['tar', '-C', root, '-xp', '--numeric-owner', '--keep-directory-symlink'], { input: contents.stdout })
  }
  if (!keepLinks) for (const name of aliases) rmSync(join(root, name))
  return packTar(root)
}

/** Sorted and without the time of day, so that the same packages make the same image. */
const packTar = (root) =>
  run(['tar', '-C', root, '--sort=name', '--numeric-owner', '--owner=0', '--group=0', '--mtime=@0', '-cf', '-', '.'], { encoding: 'buffer' }).stdout

const sha256 = (data) => `sha256:${createHash('sha256').update(data).digest('hex')}`

/** A small image of three layers: libraries, programs, and a last one that adds a greeting and takes the documentation away. */
const makeImage = (work) => {
  const debs = join(work, 'debs')
  directory(debs, 0o755)
  const programs = ['bash', 'coreutils', 'grep']
  const packages = downloadPackages(debs, ['base-files', ...programs])
  const base = [packages.get('base-files'), ...[...packages].filter(([name]) => name.startsWith('lib')).map(([, file]) => file)]
  const top = join(work, 'layer3')
  directory(join(top, 'usr/share'), 0o755)
  directory(join(top, 'usr/bin'), 0o755)
  for (const name of ['usr/share/.wh.doc', 'usr/share/.wh.man']) writeFileSync(join(top, name), '')
  directory(join(top, 'usr/local/bin'), 0o755)
  symlinkSync('bash', join(top, 'usr/bin/sh'))
  writeFileSync(join(top, 'usr/local/bin/hello'), '#!/bin/sh\necho "hello from inside the image, $(id -un)"\n', { mode: 0o755 })
  const tars = [
    packageLayer(join(work, 'layer1'), base, true),
    packageLayer(join(work, 'layer2'), programs.map((name) => packages.get(name)), false),
    packTar(top),
  ]
  const layers = tars.map((tar) => gzipSync(tar, { level: 6 }))
  const config = Buffer.from(JSON.stringify({
    created: '1970-01-01T00:00:00Z',
    os: 'linux',
    architecture: run(['dpkg', '--print-architecture']).stdout.trim(),
    config: {
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'GREETING=hello'],
      Cmd: ['/bin/bash'],
      WorkingDir: '/',
    },
    rootfs: { type: 'layers', diff_ids: tars.map(sha256) },
  }))
  const describe = (mediaType, data) => ({ mediaType, digest: sha256(data), size: data.length })
  const manifest = Buffer.from(JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: describe('application/vnd.oci.image.config.v1+json', config),
    layers: layers.map((layer) => describe('application/vnd.oci.image.layer.v1.tar+gzip', layer)),
  }))
  return { blobs: [config, ...layers], manifest }
}

/** Start docker-registry on 127.0.0.1; the port of the last time if it is free, so that references stay good. */
const startRegistry = async (work, port = 0) => {
  const config = join(work, 'registry.yml')
  writeFileSync(config, [
    'version: 0.1',
    'log: {level: info, accesslog: {disabled: true}}',
    `storage: {filesystem: {rootdirectory: ${work}/registry}}`,
    `http: {addr: "127.0.0.1:${port}"}`,
    '',
  ].join('\n'))
  const child = spawn('docker-registry', ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH } })
  const stop = () => child.kill('SIGKILL')
  process.once('exit', stop)
  let log = ''
  const found = await new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(new DemoError(`docker-registry can't be started: ${cause.message}`)))
    child.once('close', () => resolve(undefined))
    child.stderr.on('data', (chunk) => {
      log = (log + chunk).slice(-8192)
      const match = /listening on 127\.0\.0\.1:(\d+)/.exec(log)
      if (match !== null) resolve(Number(match[1]))
    })
  })
  if (found === undefined) return port === 0 ? fail(`docker-registry ended: ${log.trim().split('\n').pop()}`) : startRegistry(work)
  return { host: `127.0.0.1:${found}`, port: found, stop }
}

const push = async (host, repository, tag, image) => {
  const send = async (method, path, body, type) => {
    const answer = await fetch(new URL(path, `http://${host}`), { method, body, headers: type === undefined ? {} : { 'Content-Type': type } })
    const text = await answer.text()
    if (!answer.ok) fail(`the registry answered ${method} ${path} with ${answer.status}: ${text}`)
    return answer
  }
  for (const blob of image.blobs) {
    const upload = await send('POST', `/v2/${repository}/blobs/uploads/`)
    const to = new URL(upload.headers.get('location'), `http://${host}`)
    to.searchParams.set('digest', sha256(blob))
    await send('PUT', to.href, blob, 'application/octet-stream')
  }
  await send('PUT', `/v2/${repository}/manifests/${tag}`, image.manifest, 'application/vnd.oci.image.manifest.v1+json')
}

// --- the run ---------------------------------------------------------------------------------------------------------

const removeEverything = () => {
  const { accounts } = readNotes()
  for (const name of accounts) {
    if (findAccount(name) === undefined) continue
    // userdel says that there is no mail spool; that is no news.
    if (spawnSync('userdel', ['--remove', name]).status !== 0 && findAccount(name) !== undefined) fail(`userdel can't remove ${name}`)
  }
  rmSync(PREFIX, { recursive: true, force: true })
  rmSync(NATIVE_BUILD, { recursive: true, force: true })
  step(`removed ${[PREFIX, NATIVE_BUILD, ...accounts.map((name) => `the account ${name}`)].join(', ')}`)
}

const demo = async (given, work) => {
  directory(PREFIX, 0o755)
  buildJavaScript()
  buildNative()

  step(`accounts: ${SERVICE} owns the images, ${PERSON} runs programs`)
  const service = ensureAccount(SERVICE, ['--system', '--user-group', '--home-dir', '/nonexistent', '--no-create-home', '--shell', '/usr/sbin/nologin'])
  const person = ensureAccount(PERSON, ['--create-home', '--user-group', '--shell', '/bin/bash'])
  if (person.uid === 0 || service.uid === 0) fail(`${PERSON} and ${SERVICE} must not be root here`)
  const images = join(PREFIX, 'images')
  const state = join(PREFIX, 'state')

  let reference = given
  let registry
  if (reference === undefined) {
    step("making an image of three layers from Debian's packages base-files, bash, coreutils, grep and their libraries")
    const image = makeImage(work)
    registry = await startRegistry(work, readNotes().port)
    writeNotes({ ...readNotes(), port: registry.port })
    await push(registry.host, 'demo', 'latest', image)
    reference = `docker:${registry.host}/demo:latest`
    step(`serving it from a registry on ${registry.host}`)
  } else if (!/^(docker|vm|chos|custom|id|local):/.test(reference)) {
    reference = `docker:${reference}`
  }
  try {
    const localHost = /^docker:((?:127\.0\.0\.1|localhost)(?::\d+)?)\//.exec(reference)?.[1]
    configure(service, images, state, localHost === undefined ? [] : [localHost])
    installJavaScript(service)
    const shifterimg = [...become(service), SHIFTERIMG]

    step(`pulling ${reference} as ${SERVICE}: shifterimg pull ${reference}`)
    const pulled = spawnSync(...split([...shifterimg, 'pull', reference]), { cwd: '/', stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })
    if (pulled.status !== 0) fail(`the pull ended with ${pulled.signal ?? `status ${pulled.status}`} (its message is above)`)
    const id = pulled.stdout.trim()
    console.log(`    image id ${id}`)

    const inside = (...argv) => {
      step(`as ${PERSON}: shifter --image=${reference} -- ${argv.map((word) => (/^[\w/.-]+$/.test(word) ? word : `'${word}'`)).join(' ')}`)
      const { stdout } = run([...become(person), HELPER, `--image=${reference}`, '--', ...argv], { cwd: '/' })
      console.log(stdout.trimEnd().replace(/^/gm, '    '))
      return stdout
    }
    inside('cat', '/etc/os-release')
    const who = inside('id')
    const status = inside('grep', '-E', '^(Cap|NoNewPrivs)', '/proc/self/status')
    if (!who.startsWith(`uid=${person.uid}(`)) fail(`the program did not run as ${PERSON}`)
    if (!/^CapEff:\s*0{16}$/m.test(status)) fail('the program had capabilities left')
    if (!/^NoNewPrivs:\s*1$/m.test(status)) fail('the program could have gained privileges (NoNewPrivs is not 1)')

    console.log(`
It works: ${PERSON} ran programs in the image with no capability and no way to gain one. Try it yourself:
  setpriv --reuid=${PERSON} --regid=${PERSON} --init-groups --reset-env ${HELPER} --image=${reference} -- ${given === undefined ? 'hello' : 'cat /etc/os-release'}
  setpriv --reuid=${SERVICE} --regid=${SERVICE} --init-groups --reset-env ${SHIFTERIMG} images
  npm run demo -- docker:alpine:3.20        an image of the network
  node scripts/demo.mjs --remove            undo everything`)
  } finally {
    registry?.stop()
  }
}

const main = async () => {
  const args = process.argv.slice(2)
  if (args.length > 1 || args.some((arg) => arg.startsWith('-') && arg !== '--remove')) {
    fail('usage: npm run demo [-- IMAGE_REFERENCE], or node scripts/demo.mjs --remove')
  }
  if (process.getuid?.() !== 0) fail('run this as root: it installs a setuid program and makes two accounts')
  if (args[0] === '--remove') return removeEverything()
  const work = mkdtempSync(join(tmpdir(), 'shifter-sdk-demo-'))
  try {
    await demo(args[0], work)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

main().catch((error) => {
  console.error(`demo: ${error instanceof DemoError ? error.message : (error.stack ?? String(error))}`)
  process.exitCode = 1
})
