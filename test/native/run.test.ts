/** The helper as a site installs it (setuid root) and as ordinary users call it. */
import { chmodSync, chownSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import commandSelection from '../cases/command_selection.json' with { type: 'json' }
import containerFacts from '../cases/container_facts.json' with { type: 'json' }
import environmentCases from '../cases/environment.json' with { type: 'json' }
import runtimeLive from '../cases/runtime_live.json' with { type: 'json' }
import { type Account, runAs, type RunAsOptions } from '../harness/accounts.js'
import { DEFAULT_PREFIX, SHARED_IMAGE_PATH } from '../harness/native.js'
import { service, userA, userB } from '../harness/people.js'
import { type Profile, PROFILES, profileOn } from '../harness/profiles.js'
import { type ProcessResult, run } from '../harness/process.js'
import { startRegistry } from '../harness/registry.js'
import { useWorkspace } from '../harness/workspace.js'
import { pullImage } from 'shifter-sdk'
import { busyboxRoot, publishMeta, pullTestImage, refusal, settings, type TestImage } from './fixture.js'

const HELPER = join(DEFAULT_PREFIX, 'bin/shifter')
const workspace = useWorkspace('run')
let image: TestImage
let plain: TestImage
let secret: TestImage

const shifter = (args: readonly string[], options: RunAsOptions & { readonly as?: Account } = {}): Promise<ProcessResult> => {
  const { as = userA, ...rest } = options
  return runAs(as, [HELPER, ...args], rest)
}
/** A shell script inside the image; it must succeed. */
const inside = async (script: string, options: RunAsOptions & { readonly as?: Account; readonly args?: readonly string[] } = {}): Promise<string> => {
  const { args = [], ...rest } = options
  const result = await shifter([`--image=${image.reference}`, ...args, 'sh', '-c', script], rest)
  expect(result, script).toMatchObject({ status: 0 })
  return result.stdout
}
const status = (text: string): Record<string, string> =>
  Object.fromEntries(text.trimEnd().split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]))

beforeAll(async () => {
  const common = { directory: workspace.path, imagePath: SHARED_IMAGE_PATH }
  image = await pullTestImage({
    ...common,
    tag: 'full',
    config: { Env: ['PATH=/bin', 'FROM_IMAGE=yes', 'EMPTY='], WorkingDir: '/start', Entrypoint: ['echo', 'howdy'], Cmd: ['guys'] },
    more: [
      { name: 'my dir', type: 'dir' },
      { name: 'a@b', type: 'dir' },
      { name: 'pipe', type: 'fifo' },
      ...['data', 'mnt', 'usr'].map((name) => ({ name, type: 'dir' as const })),
      { name: 'suid/cat', type: 'file', mode: 0o6755, data: readFileSync('/usr/bin/busybox') },
      { name: 'env-file', type: 'file', data: '# comment\n   \n  FROM_FILE=1  \nQUOTED="b c"\n' },
      { name: 'bad-env-file', type: 'file', data: 'A=\n' },
    ],
  })
  plain = await pullTestImage({ ...common, tag: 'plain', config: { Env: ['PATH=/bin'] } })
  secret = await pullTestImage({ ...common, tag: 'secret', config: { Env: ['PATH=/bin', 'SECRET=1'] }, requester: service.uid, allowUids: [userA.uid] })
})

describe('the installation', () => {
  it('is setuid root with mode 4755', () => {
    const { uid, gid, mode } = statSync(HELPER)
    expect([uid, gid, (mode & 0o7777).toString(8)]).toEqual([0, 0, '4755'])
  })

  it('answers shifter-check node', async () => {
    const { status: code, stdout } = await runAs(userA, [join(DEFAULT_PREFIX, 'bin/shifter-check'), 'node'])
    expect({ code, answer: JSON.parse(stdout) as unknown }).toMatchObject({ code: 0, answer: { ok: true } })
  })

  it('answers --help and --version without an image', async () => {
    expect(await shifter(['--help'])).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining('--image=') as string })
    expect(await shifter(['--version'])).toMatchObject({ status: 0, stderr: '', stdout: expect.stringMatching(/^shifter \d+\.\d+\.\d+\n$/) as string })
  })
})

describe('an image', () => {
  it('runs by name and by id, for two users', async () => {
    for (const as of [userA, userB]) {
      for (const reference of [image.reference, `id:${image.record.id}`]) {
        const result = await shifter([`--image=${reference}`, 'cat', '/etc/os-release'], { as })
        expect(result).toMatchObject({ status: 0, stdout: 'PRETTY_NAME="Test image"\n', stderr: '' })
      }
    }
  })

  it('runs by the name it has in a registry', async () => {
    const registry = await startRegistry()
    try {
      await registry.push(workspace.at('layout'), 'full', 'team/tool:v1')
      const reference = `docker:${registry.host}/team/tool:v1`
      const record = await pullImage(reference, {
        config: {
          version: 1,
          stateDirectory: workspace.at('state'),
          prefix: DEFAULT_PREFIX,
          systems: { test: { imagePath: SHARED_IMAGE_PATH } },
          registries: { [registry.host]: { plainHttp: true } },
        },
      })
      expect(record.id).toBe(image.record.id)
      const script = 'echo "$SHIFTER_IMAGEREQUEST"'
      // Without the type: the site's default is docker.
      for (const named of [reference, reference.slice('docker:'.length)]) {
        expect(await shifter([`--image=${named}`, 'sh', '-c', script])).toMatchObject({ status: 0, stdout: `${reference}\n` })
      }
    } finally {
      await registry.stop()
    }
  })

  it('is named by the environment where no option names it', async () => {
    const id = image.record.id
    const script = ['sh', '-c', 'echo "$SHIFTER_IMAGE"']
    expect((await shifter(script, { env: { SHIFTER_IMAGETYPE: 'id', SHIFTER_IMAGE: id } })).stdout).toBe(`${id}\n`)
    expect((await shifter(script, { env: { SHIFTER_IMAGEREQUEST: image.reference } })).stdout).toBe(`${id}\n`)
    expect(refusal(await shifter(script, { env: { SHIFTER_IMAGE: id } }))).toBe('USAGE')
    // What the job was submitted with stays known, when the workload manager has made it an id.
    const job = { SHIFTER_IMAGETYPE: 'id', SLURM_SPANK_SHIFTER_IMAGE: id, SHIFTER_IMAGEREQUEST: 'docker:asked:for' }
    expect((await shifter(['sh', '-c', 'echo "$SHIFTER_IMAGE $SHIFTER_IMAGEREQUEST"'], { env: job })).stdout).toBe(`${id} docker:asked:for\n`)
    expect((await shifter(['--explain', 'true'], { env: { ...job, SLURM_SPANK_SHIFTER_VOLUME: '/tmp:/mnt' } })).stdout)
      .toMatch(new RegExp(`^image\t${id}\tid:${id} by SLURM_SPANK_SHIFTER_IMAGE$.*^mount\t/mnt .*SLURM_SPANK_SHIFTER_VOLUME`, 'ms'))
    expect(refusal(await shifter(script))).toBe('USAGE')
  })

  it('is resolved to its id', async () => {
    expect(await shifter([`--resolve=${image.reference}`])).toMatchObject({ status: 0, stdout: `${image.record.id}\n`, stderr: '' })
    expect(await shifter([`--resolve=id:${image.record.id}`])).toMatchObject({ status: 0, stdout: `${image.record.id}\n`, stderr: '' })
    expect(refusal(await shifter([`--resolve=${image.reference}-none`]))).toBe('IMAGE_NOT_FOUND')
    expect(refusal(await shifter([`--resolve=${image.reference}`, 'id']))).toBe('USAGE')
  })

  it('published by the reference system (.meta alone) runs', async () => {
    const reference = publishMeta(
      SHARED_IMAGE_PATH, service, 'reference-published', busyboxRoot(),
      "FORMAT: squashfs\nENTRY: ['echo', u'h\\xc3\\xa9']\nCMD: ['x y']\nWORKDIR: /start\nUSERACL: \nGROUPACL: \nENV: PATH=/bin\nENV: A=b\nUSER: x\nVOLUME: /data\n",
    )
    expect(await shifter([`--image=${reference}`, '--entrypoint'])).toMatchObject({ status: 0, stdout: 'h\u00e9 x y\n', stderr: '' })
    expect(await shifter([`--image=${reference}`, '--workdir', 'sh', '-c', 'pwd; echo $A'])).toMatchObject({ status: 0, stdout: '/start\nb\n' })
  })

  it('private to a list is seen by the listed user alone, and told like a missing one', async () => {
    const missing = { reference: secret.reference.replace(/:secret$/, ':sekret'), id: secret.record.id.replace(/^.{8}/, '00000000') }
    expect(secret.record).toMatchObject({ access: 'private', owner: service.uid, allowUids: [userA.uid] })
    for (const [reference, absent] of [[secret.reference, missing.reference], [`id:${secret.record.id}`, `id:${missing.id}`]] as const) {
      for (const option of ['--image', '--resolve']) {
        const command = option === '--image' ? ['sh', '-c', 'echo $SECRET'] : []
        expect(await shifter([`${option}=${reference}`, ...command])).toMatchObject({ status: 0, stderr: '' })
        const refused = await shifter([`${option}=${reference}`, ...command], { as: userB })
        const never = await shifter([`${option}=${absent}`, ...command], { as: userB })
        expect(refusal(refused)).toBe('IMAGE_NOT_FOUND')
        expect(refused.status).toBe(never.status)
        expect(refused.stderr).toBe(never.stderr.replaceAll(absent, reference))
      }
    }
  })

  it('private to a group is seen by its members', async () => {
    const reference = publishMeta(SHARED_IMAGE_PATH, service, 'for-a-group', busyboxRoot(), `FORMAT: squashfs\nENV: PATH=/bin\nGROUPACL: ${userA.gid}\n`)
    expect(await shifter([`--image=${reference}`, 'true'])).toMatchObject({ status: 0 })
    expect(refusal(await shifter([`--image=${reference}`, 'true'], { as: userB }))).toBe('IMAGE_NOT_FOUND')
    expect(await shifter([`--image=${reference}`, 'true'], { as: userB, groups: [userB.gid, userA.gid] })).toMatchObject({ status: 0 })
  })

  it('that is a directory of the host is refused where the site does not allow it', async () => {
    const refused = await shifter(['--image=local:/', 'id'])
    expect(refusal(refused)).toBe('LOCAL_NOT_ALLOWED')
    expect(refused.stderr).toContain("'local:/' is a directory of the host")
    expect(refused.stdout).toBe('')
  })
})

describe('the identity inside', () => {
  it("is the caller's, without any capability or a way back to one", async () => {
    const [id = '', ...rest] = (await inside('id; cat /proc/self/status')).split('\n')
    expect(id).toBe(`uid=${userA.uid}(${userA.name}) gid=${userA.gid}(${userA.name}) groups=${userA.gid}(${userA.name})`)
    const none = '0'.repeat(16)
    expect(status(rest.join('\n'))).toMatchObject({
      Uid: Array(4).fill(userA.uid).join('\t'),
      Gid: Array(4).fill(userA.gid).join('\t'),
      CapInh: none, CapPrm: none, CapEff: none, CapBnd: none, CapAmb: none,
      NoNewPrivs: '1',
    })
  })

  it('gains nothing by a setuid file', async () => {
    expect(status(await inside('/suid/cat /proc/self/status'))['Uid']).toBe(Array(4).fill(userA.uid).join('\t'))
  })

  it('is in passwd and group, and nobody else is', async () => {
    const passwd = await inside('cat /etc/passwd; echo; cat /etc/group; echo; cat /etc/nsswitch.conf')
    expect(passwd.split('\n\n').slice(0, 2)).toEqual([
      `${userA.name}:x:${userA.uid}:${userA.gid}::${userA.home}:/bin/sh`,
      `${userA.name}:x:${userA.gid}:`,
    ].map((line) => expect.stringMatching(new RegExp(`^${line}[^\n]*$`)) as string))
    expect(passwd).toContain('passwd: files\n')
  })

  it('keeps umask and limits', async () => {
    expect((await runAs(userA, ['sh', '-c', `umask 027; ulimit -n 333; ulimit -c 0; exec ${HELPER} --image=${image.reference} sh -c 'umask; ulimit -n; ulimit -c'`])).stdout)
      .toBe('0027\n333\n0\n')
    // Too small a file size must not break the building of the root, and must hold again inside. Soft limits: a
    // machine whose root has no CAP_SYS_RESOURCE can't raise hard ones.
    expect((await runAs(userA, ['sh', '-c', `ulimit -S -f 0; ulimit -S -s 256; exec ${HELPER} --image=${image.reference} sh -c 'ulimit -f; ulimit -s'`])).stdout)
      .toBe('0\n256\n')
  })
})

describe('the root inside', () => {
  it('shows /tmp, the home directory and siteFs of the host', async () => {
    const name = `shared-${process.pid}`
    await inside(`echo here > /tmp/${name}; echo home > ${userA.home}/${name}; cat /site/hello`).then((out) => expect(out).toBe('from the site\n'))
    for (const [file, text] of [[`/tmp/${name}`, 'here\n'], [`${userA.home}/${name}`, 'home\n']] as const) {
      expect(readFileSync(file, 'utf8')).toBe(text)
      expect(statSync(file).uid).toBe(userA.uid)
      rmSync(file)
    }
  })

  it('can be written nowhere else', async () => {
    const out = await inside('for f in /x /etc/x /bin/x /start/x /var/x /sys/x; do touch $f 2>/dev/null && echo $f; done; true')
    expect(out).toBe('')
    const mounts = (await inside('cat /proc/self/mountinfo')).trimEnd().split('\n').map((line) => line.split(' '))
    for (const [, , , , where = '', options = ''] of mounts) {
      expect(`${where} ${options}`).toMatch(/nosuid/)
      if (!/^\/dev(\/|$)/.test(where)) expect(`${where} ${options}`).toMatch(/nodev/)
    }
    expect(mounts.find(([, , , , where]) => where === '/')?.[5]).toMatch(/^ro,/)
    expect(mounts.find(([, , , , where]) => where === '/sys')?.[5]).toMatch(/^ro,/)
  })

  it('starts where the caller is, in --workdir, or in /', async () => {
    expect(await inside('pwd', { cwd: '/tmp' })).toBe('/tmp\n')
    const elsewhere = await shifter([`--image=${image.reference}`, 'pwd'], { cwd: '/usr/share' })
    expect(elsewhere).toMatchObject({ status: 0, stdout: '/\n' })
    expect(elsewhere.stderr).toMatch(/^shifter: warning: the working directory \/usr\/share [^\n]*\n$/)
    expect(await inside('pwd', { args: ['--workdir'] })).toBe('/start\n')
    expect(await inside('pwd', { args: ['--workdir=/bin'] })).toBe('/bin\n')
    expect(refusal(await shifter([`--image=${image.reference}`, '--workdir=/nowhere', 'pwd']))).toBe('WORKDIR_UNUSABLE')
    const apart = await shifter([`--image=${image.reference}`, '--workdir', '/bin', '--', 'pwd'])
    expect([refusal(apart), apart.stdout]).toEqual(['USAGE', ''])
    expect(apart.stderr).toContain('write --workdir=/bin')
  })
})

describe('the environment inside', () => {
  const env = async (args: readonly string[], outer: Readonly<Record<string, string>> = {}) => {
    const result = await shifter([`--image=${image.reference}`, ...args, 'env'], { env: outer })
    expect(result).toMatchObject({ status: 0, stderr: '' })
    return settings(result.stdout)
  }

  it("is the caller's, then the image's, then --env-file, then --env", async () => {
    const outer = { FROM_IMAGE: 'no', OUTER: '1', PATH: '/wrong' }
    expect(await env(['--env=A=b=c', '-e', 'A=d='], outer)).toMatchObject({ OUTER: '1', FROM_IMAGE: 'yes', PATH: '/bin', A: 'd=', HOME: userA.home })
    expect(await env(['--env-file=/env-file', '--env=FROM_FILE=2'])).toMatchObject({ FROM_FILE: '2', QUOTED: '"b c"', EMPTY: '' })
    expect(refusal(await shifter([`--image=${image.reference}`, '--env-file=/bad-env-file', 'env']))).toBe('ENVIRONMENT_INVALID')
    const absent = await shifter([`--image=${image.reference}`, '--env-file=/etc/hostname-of-nobody', 'env'])
    expect(refusal(absent)).toBe('ENV_FILE_UNREADABLE')
    expect(absent.stderr).toContain('--env-file=/etc/hostname-of-nobody, inside the image: No such file')
  })

  it('is the image\'s alone with --clearenv', async () => {
    expect(await env(['--clearenv', '--env=X=1'], { OUTER: '1' })).toEqual({
      SHIFTER_IMAGEREQUEST: image.reference, SHIFTER_IMAGE: image.record.id, PATH: '/bin', FROM_IMAGE: 'yes', EMPTY: '', X: '1',
    })
  })

  it.each(environmentCases.env_option)('--env=$arg: accepted $accept', async ({ arg, accept }) => {
    const result = await shifter([`--image=${image.reference}`, `--env=${arg}`, 'env'])
    if (!accept) return expect(refusal(result)).toBe('ENVIRONMENT_INVALID')
    expect(result.stdout.split('\n')).toContain(arg)
  })
})

describe('the command', () => {
  interface Row {
    readonly cli: string
    readonly argv?: readonly string[]
    readonly image?: string
    readonly exit?: number
  }
  const rows: readonly Row[] = commandSelection.cases
  /** What a program was started with, told by itself: the shell's $0 and its parameters are what /proc says. */
  const wordsOf = (cli: string): string[] => [...cli.matchAll(/(?:[^ "]|"[^"]*")+/g)].map(([word]) => word.replaceAll('"', ''))

  it.each(rows)('$cli ($image): $argv $exit', async ({ cli, argv, image: which, exit }) => {
    const words = wordsOf(cli).slice(1)
    const result = await runAs(userA, [HELPER, `--image=${which === undefined ? image.reference : plain.reference}`, ...words], {
      input: 'echo "shell: $0"\n',
      env: { SHELL: '/bin/false' },
    })
    if (argv === undefined) {
      expect(result.status).toBe(exit)
      expect(refusal(result)).toBe(words[0] === '--workdir' ? 'NO_WORKDIR' : 'NO_ENTRYPOINT')
    } else if (argv[0] === '$SHELL or /bin/sh') {
      // SHELL is not looked at, as in the reference's shipped binary.
      expect(result).toMatchObject({ status: 0, stdout: 'shell: /bin/sh\n' })
    } else if (argv[0] === 'echo') {
      expect(result).toMatchObject({ status: 0, stdout: `${argv.slice(1).join(' ')}\n` })
    } else {
      expect(result.status).toBe(127)
      expect(refusal(result)).toBe('EXEC_FAILED')
      expect(result.stderr).toContain(`${argv[0]}: `)
    }
  })

  it("ends with the program's own status or signal", async () => {
    expect(await shifter([`--image=${image.reference}`, 'sh', '-c', 'exit 7'])).toMatchObject({ status: 7, stderr: '' })
    expect((await shifter([`--image=${image.reference}`, 'false'])).status).toBe(1)
    // setpriv and env exec, so the helper is the child itself.
    expect((await shifter([`--image=${image.reference}`, 'sh', '-c', 'kill -TERM $$'])).signal).toBe('SIGTERM')
  })

  it('keeps words as they are and takes options no further than the first word that is none', async () => {
    const args = ['a b', '', '--image=x', '-v', '*', '$HOME', '\u00e9\n']
    const result = await shifter([`--image=${image.reference}`, 'printf', '<%s>', ...args])
    expect(result.stdout).toBe(args.map((arg) => `<${arg}>`).join(''))
    expect((await shifter([`--image=${image.reference}`, '--', 'echo', '-v'])).stdout).toBe('-v\n')
  })
})

describe('refusals', () => {
  it.each([
    [['--image='], 'REFERENCE_INVALID'],
    [['--image=docker:Upper'], 'REFERENCE_INVALID'],
    [['--image=id:../../etc/passwd'], 'REFERENCE_INVALID'],
    [['--image=oci:relative/path'], 'IMAGE_TYPE_NOT_RUNNABLE'],
    [['--image=docker:none'], 'IMAGE_NOT_FOUND'],
    [['--image'], 'USAGE'],
    [['--nonsense'], 'USAGE'],
    [['--image=id:x', '--volume=/a:/etc'], 'VOLUME_INVALID'],
    [['--image=id:x', '--module=mpich'], 'MODULE_REFUSED'],
    [['--image=id:x\n\x1b[31m'], 'REFERENCE_INVALID'],
    [['--image=local:/', '--writable'], 'LOCAL_NOT_ALLOWED'],
    [['--image=vm:./disk.qcow2'], 'IMAGE_TYPE_NOT_RUNNABLE'],
    [['--image=vm:disk'], 'IMAGE_NOT_FOUND'],
    [['--image=docker://debian:12'], 'REFERENCE_INVALID'],
  ])('%j: %s', async (args, code) => {
    const result = await shifter([...args, ...(args.length === 1 && args[0] === '--image' ? [] : ['true'])])
    expect(refusal(result)).toBe(code)
    expect(result.stdout).toBe('')
    expect(result.stderr).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/)
  })

  it('an id that no image can have says why', async () => {
    expect((await shifter(['--image=id:4f6a', 'true'])).stderr).toContain('(an id has 64 hexadecimal digits)')
    expect((await shifter([`--image=id:${'a'.repeat(64)}`, 'true'])).stderr).not.toContain('hexadecimal')
  })

  it('a name whose image is gone says so', async () => {
    const gone = await pullTestImage({ directory: workspace.path, imagePath: SHARED_IMAGE_PATH, tag: 'gone', config: { Env: ['PATH=/bin', 'GONE=1'] } })
    rmSync(join(SHARED_IMAGE_PATH, `${gone.record.id}.squashfs`))
    expect(refusal(await shifter([`--image=${gone.reference}`, 'true']))).toBe('IMAGE_EXPIRED')
    expect(refusal(await shifter([`--image=id:${gone.record.id}`, 'true']))).toBe('IMAGE_NOT_FOUND')
  })

  it('a record of a newer version says so', async () => {
    const reference = publishMeta(SHARED_IMAGE_PATH, service, 'newer', busyboxRoot())
    const record = join(SHARED_IMAGE_PATH, 'newer.record')
    writeFileSync(record, 'shifter-record 2\nend\n')
    chmodSync(record, 0o600)
    chownSync(record, service.uid, service.gid)
    expect(refusal(await shifter([`--image=${reference}`, 'true']))).toBe('RECORD_NEWER')
  })
})

describe('what a user sees inside', () => {
  const facts: Readonly<Record<string, () => Promise<void>>> = {
    'shifter --image=I echo test': async () => expect(await inside('echo test')).toBe('test\n'),
    'cat /proc/self/status': async () => {
      const { CapBnd, CapEff, CapInh, CapPrm } = status(await inside('cat /proc/self/status'))
      expect([CapInh, CapPrm, CapEff, CapBnd]).toEqual(Array.from({ length: 4 }, () => '0'.repeat(16)))
    },
    'ls -ld /etc/mtab': async () => expect(await inside('readlink /etc/mtab')).toBe('/proc/mounts\n'),
    'cat /etc/passwd': async () => expect(await inside('cat /etc/passwd')).toContain(`${userA.name}:x:${userA.uid}:${userA.gid}:`),
    'cat /var/shifterConfig.json': async () =>
      expect(JSON.parse(await inside('cat /var/shifterConfig.json'))).toEqual({ identifier: image.record.id, user: userA.name, volMap: '', modules: '' }),
    'ls -ld /var/tmp after the run': async () => {
      await inside('true')
      expect(statSync('/var/tmp').isDirectory()).toBe(true)
    },
  }
  it.each(containerFacts.cases.map((fact) => fact.cmd ?? fact.host))('as of the reference system: %s', async (name) => {
    const fact = facts[name ?? '']
    if (fact === undefined) throw new Error(`no check for "${name}"`)
    await fact()
  })
})

describe.each(PROFILES)('live behaviour of the reference system: %s', (name) => {
  let profile: Profile
  let reference: string
  beforeAll(async () => {
    profile = profileOn(name, DEFAULT_PREFIX, {}, workspace.at(`live-${name.replaceAll(' ', '-')}`))
    await profile.adopt(image.record.id, plain.record.id)
    reference = `id:${image.record.id}`
  })
  beforeEach(() => profile.prepare(reference))
  afterEach(() => profile.clear())
  const start = (options: readonly string[], ...command: readonly string[]): Promise<ProcessResult> => profile.start([`--image=${reference}`, ...options, ...command])
  const script = async (text: string): Promise<string> => {
    const result = await start([], 'sh', '-c', text)
    expect(result, text).toMatchObject({ status: 0, stderr: '' })
    return result.stdout
  }
  const publish = (id: string, meta: string): string => publishMeta(profile.images, profile.owner, `${id}-${PROFILES.indexOf(name)}`, busyboxRoot(), meta)

  /** What of a row's claim holds here; a row with `good: false` is a defect of the reference that must not be seen. */
  const checks: Readonly<Record<string, () => Promise<void>>> = {
    'probe id': async () => expect(await script('id -u; id -g; id -G')).toBe(`${userA.uid}\n${userA.gid}\n${userA.gid}\n`),
    'umask of the program when the caller had 077': async () =>
      expect((await runAs(userA, ['sh', '-c', 'umask 077; exec "$@"', 'sh', profile.helper, `--image=${reference}`, 'sh', '-c', profile.script('umask')], { env: profile.environment })).stdout).toBe('0077\n'),
    '--image=local:/ with allowLocalChroot=0': async () => expect(refusal(await profile.start(['--image=local:/', 'true']))).toBe('LOCAL_NOT_ALLOWED'),
    'image has top-level dirs "my dir" and "a@b"': async () => expect(await script('ls -d "/my dir" /a@b')).toBe('/a@b\n/my dir\n'),
    'image has a top-level FIFO': async () => expect(await script('ls /pipe 2>/dev/null || echo missing')).toBe('missing\n'),
    '.meta has USER: x': async () => {
      const image = publish('with-user', 'FORMAT: squashfs\nENV: PATH=/bin\nUSER: x\n')
      expect(await profile.start([`--image=${image}`, 'true'])).toMatchObject({ status: 0, stdout: '', stderr: '' })
    },
    'USERACL: and GROUPACL: empty': async () => {
      const image = publish('empty-lists', 'FORMAT: squashfs\nENV: PATH=/bin\nUSERACL:\nGROUPACL:\n')
      // A person's own images lie where nobody else looks.
      for (const as of profile.userns ? [userA] : [userA, userB]) expect(await profile.start([`--image=${image}`, 'true'], { as })).toMatchObject({ status: 0 })
    },
    'unknown id': async () => {
      const result = await profile.start(['--image=id:unknown', 'true'])
      expect([result.status, refusal(result)]).toEqual([1, 'IMAGE_NOT_FOUND'])
    },
    'as root': async () => {
      const result = await run([profile.helper, `--image=${reference}`, 'true'], { env: profile.environment })
      expect([result.status, refusal(result)]).toEqual([1, 'CALLER_IS_ROOT'])
      if (profile.joined) expect(refusal(await run(profile.preparation(reference, { as: { name: 'root', uid: 0, gid: 0, home: '/root' } })))).toBe('USAGE')
    },
    'same with --clearenv': async () => {
      const result = await profile.start([`--image=id:${plain.record.id}`, '--clearenv', 'env'], { env: { OUTER: '1' } })
      expect(Object.keys(settings(result.stdout)).sort()).toEqual(['PATH', 'SHIFTER_IMAGE', 'SHIFTER_IMAGEREQUEST'])
    },
    '32 concurrent starts': async () => {
      const users = profile.userns ? [userA] : [userA, userB]
      for (const as of users) await profile.prepare(reference, { as })
      const results = await Promise.all(Array.from({ length: 32 }, (_, i) =>
        runAs(users[i % users.length] ?? userA, [profile.helper, `--image=${reference}`, 'sh', '-c', profile.script(`echo ${i}`)], { env: profile.environment })))
      expect(results.map(({ status: code, stdout, stderr }) => `${code} ${stdout}${stderr}`)).toEqual(results.map((_, i) => `0 ${i}\n`))
    },
  }

  it.each(runtimeLive.cases)('$do (the reference: $seen)', async (row) => {
    const check = checks[row.do]
    if (check !== undefined) return check()
    // The reference's site mounted /home, this one /site.
    expect(row.do).toMatch(/^--volume=/)
    const result = await start([row.do.replace('=/home:', '=/site:')], 'true')
    if (row.seen.startsWith('refused') === row.good) expect(refusal(result)).toBe('VOLUME_INVALID')
    else expect(result).toMatchObject({ status: 0, stderr: '' })
  })
})
