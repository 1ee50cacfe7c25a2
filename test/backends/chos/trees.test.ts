/** A site's CHOS trees: they convert, run as a user, and a second conversion changes nothing. */
import { chmodSync, linkSync, lstatSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspectImage, type PublishedImage, pullImage } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { runAs } from '../../harness/accounts.js'
import { chosSite, type ChosSite, contents, copyTree, debianTree, pulled, siteLinks, writeBusybox, writeTree } from '../../harness/chosSite.js'
import { failure } from '../../harness/gateway.js'
import { DEFAULT_PREFIX, SHARED_IMAGE_PATH } from '../../harness/native.js'
import { userA } from '../../harness/people.js'
import { type ProcessResult, runOk } from '../../harness/process.js'
import { useWorkspace } from '../../harness/workspace.js'

const work = useWorkspace('chos')
let site: ChosSite
let debian: string
let links: string

const shifter = (image: PublishedImage, ...command: readonly string[]): Promise<ProcessResult> =>
  runAs(userA, [join(DEFAULT_PREFIX, 'bin/shifter'), `--image=id:${image.id}`, ...command])

beforeAll(async () => {
  debian = work.at('os/debian')
  links = work.at('os/links')
  mkdirSync(work.at('os'))
  const made = await debianTree()
  await copyTree(made.path, debian)
  writeBusybox(links)
  writeTree(links, {
    ...siteLinks,
    'usr/lib/libx.so.1': 'x',
    'usr/lib/libx.so': ['/proc/chos/link/usr/lib/libx.so.1'],
    'usr/lib/by-root': ['/chos/usr/lib/libx.so.1'],
    'usr/lib/by-chos': ['../../proc/chos/link/usr/lib/libx.so.1'],
    'usr/lib/twice': ['/proc/chos/link/proc/chos/link/usr/lib/libx.so.1'],
    'usr/lib/whole': ['/proc/chos/link'],
    'usr/lib/itself': ['/proc/chos/link/usr/lib/itself'],
    'usr/lib/relative': ['libx.so.1'],
    'usr/lib/absolute': ['/usr/lib/libx.so.1'],
    'usr/lib/gone': ['/usr/lib/no-such'],
    'usr/lib/upward': ['../../../../etc/os-release'],
    'usr/site': ['/local/usr/site'],
    'etc/relative-site': ['../local/etc/x'],
    'etc/localtime2': ['/local//etc/./localtime'],
    'etc/almost': ['/localhost'],
    'etc/of-node': ['/proc/mounts'],
    'etc/os-release': 'PRETTY_NAME="links"\n',
    'etc/ssh/ssh_host_rsa_key': 'secret',
    'etc/ssh/ssh_config': 'kept',
    'etc/krb5.keytab': 'secret',
    'etc/fstab': 'machine',
    'root/.ssh/id_rsa': 'secret',
    'boot/vmlinuz': 'kernel',
    'lib/modules/5.0/x.ko': 'module',
    'proc/1/environ': 'x',
    'dev/null2': 'x',
    'tmp/left': 'x',
    'var/log/messages': 'private',
    'home/user/.bash_history': 'x',
    'local/': null,
    'chos/': null,
    'usr/lib/.wh.libx.so': 'x',
  })
  chmodSync(join(links, 'var/log/messages'), 0o600)
  mkdirSync(join(links, 'srv/closed'), { recursive: true })
  writeFileSync(join(links, 'srv/closed/inside'), 'x')
  chmodSync(join(links, 'srv/closed'), 0o700)
  chmodSync(join(links, 'bin/busybox'), 0o4755)
  linkSync(join(links, 'etc/ssh/ssh_host_rsa_key'), join(links, 'etc/zz-linked'))
  await runOk(['mkfifo', join(links, 'etc/fifo')])
  const byPath = work.at('os/by path')
  writeBusybox(byPath)
  writeTree(byPath, { 'etc/os-release': 'PRETTY_NAME="by path"\n' })
  site = chosSite(
    work.at('site'),
    [
      '# the environments', 'before:/etc', '%SHELLS', `debian:${debian}`, `links:${links}`, `debian:${links}`, `${byPath}:${byPath}`, `again:${debian}`, 'local:/', `default:${debian}`,
      '# behind', '%OTHER', `other:${links}`, '',
    ].join('\n'),
  )
  writeFileSync(site.conf, '# kept\n%ENV\nHOME\nTERM\nHOME\n%BEH\nBASHLOGIN\n', { mode: 0o644 })
  // What runs is found on the image path that the installed helper reads.
  site = { ...site, config: { ...site.config, systems: { test: { imagePath: SHARED_IMAGE_PATH } } }, imagePath: SHARED_IMAGE_PATH }
})

describe('a tree of debootstrap', () => {
  it('converts, runs as a user, and is the same image the second time', async () => {
    const { image, warnings } = await pulled('chos:debian', site.config)
    expect(image).toMatchObject({ reference: 'chos:debian', access: 'public', env: [expect.stringMatching(/^PATH=\/usr/), 'CHOS=debian'], command: ['/bin/bash', '-l'], entrypoint: [], workdir: '/' })
    const { record } = await inspectImage('chos:debian', { config: site.config })
    expect(Object.fromEntries(record.labels)).toMatchObject({ source: 'chos', 'chos.name': 'debian', 'chos.glibc': expect.stringMatching(/^2\.\d+$/) as string, 'chos.kernel': expect.stringMatching(/^\d+\.\d+\.\d+$/) as string, 'chos.newest': expect.stringMatching(/^20\d\d-/) as string, 'chos.env': 'HOME TERM' })
    expect(warnings.filter((each) => each.startsWith('Left out'))).toEqual(expect.arrayContaining([expect.stringMatching(/^Left out of the tree, as keys or password files \(\d+\): etc\/.*shadow/)]))
    const ran = await shifter(image, 'sh', '-c', 'echo "$CHOS"; cat /etc/os-release; id -u')
    expect(ran).toMatchObject({ status: 0 })
    expect(ran.stdout).toMatch(/^debian\n/)
    expect(ran.stdout).toContain('Debian')
    expect(ran.stdout).toContain(`\n${userA.uid}\n`)
    const found = await contents(image, site.imagePath)
    expect([...found.keys()].filter((name) => /^(boot|local|dev\/.|proc\/.|sys\/.|tmp\/.|run\/.|etc\/(fstab|mtab|shadow-?|gshadow-?))/.test(name))).toEqual([])
    expect([...found].filter(([, what]) => /^(-.{6}-|[bcp])/.test(what))).toEqual([])

    const again = await pulled('chos:debian', site.config)
    expect(again.image.id).toBe(image.id)
    expect(again.events.map((event) => event._tag)).not.toContain('Packed')
  }, 300_000)

  it('has the same names, contents, modes and links as the tree but for what is left out', async () => {
    const { image } = await pulled('chos:debian', site.config)
    const out = work.at('unpacked')
    await runOk(['unsquashfs', '-q', '-no-progress', '-d', out, join(site.imagePath, `${image.id}.squashfs`)])
    // `rsync` is not asked for: names with mode, size and target, and contents by hash.
    const listing = (root: string) => runOk(['sh', '-c', 'cd "$1" && { find . -type d -printf "%p d %m\\n"; find . -type l -printf "%p l %l\\n"; find . -type f -perm -004 -printf "%p f %m %s %T@\\n" | sed "s/\\.[0-9]*$//"; find . -type f -perm -004 -print0 | sort -z | xargs -0 sha256sum; } | sort', 'sh', root], { timeoutMs: 60_000 })
    const before = (await listing(debian)).stdout.split('\n')
    const after = new Set((await listing(out)).stdout.split('\n'))
    const left = /^(?:[0-9a-f]{64} {2})?\.\/(?:dev|proc|sys|tmp|run|mnt|media|var\/tmp|boot|root|etc\/(?:fstab|shadow-?|gshadow-?)|var\/cache\/ldconfig|etc\/ssl\/private|etc\/security\/opasswd|var\/log\/(?:lastlog|faillog|[bw]tmp))(?:[/ ]|$)/
    const unset = (line: string) => line.replace(/^(\S+ f )[2467](\d{3} )/, '$1$2').replace(/^(\S+ d )[2467](\d{3})$/, (whole, name: string, mode: string) => (whole.includes(' d 1') ? whole : `${name}${mode}`))
    expect(before.map(unset).filter((line) => !left.test(line) && !after.has(line))).toEqual([])
    expect(before.length).toBeGreaterThan(500)
  }, 120_000)

  it('has another image under another name, of which it tells the name', async () => {
    const first = await pulled('chos:debian', site.config)
    const { image } = await pulled('chos:again', site.config)
    expect(image.id).not.toBe(first.image.id)
    expect(image.sourceDigest).toBe(first.image.sourceDigest)
    expect(image.env).toContain('CHOS=again')
  }, 120_000)

  it('is another image when a file of it changes, and the old one when that is undone', async () => {
    const first = await pulled('chos:debian', site.config)
    const file = join(debian, 'etc/os-release2')
    const { mtimeMs } = lstatSync(join(debian, 'etc'))
    writeFileSync(file, 'x')
    const second = await pulled('chos:debian', site.config)
    expect(second.image.id).not.toBe(first.image.id)
    rmSync(file)
    utimesSync(join(debian, 'etc'), mtimeMs / 1000, mtimeMs / 1000)
    expect((await pulled('chos:debian', site.config)).image.id).toBe(first.image.id)
    // What is left out decides nothing.
    writeFileSync(join(debian, 'tmp/new'), 'x')
    writeFileSync(join(debian, 'root/.bash_history'), 'x')
    expect((await pulled('chos:debian', site.config)).image.id).toBe(first.image.id)
  }, 200_000)
})

describe('a tree of links', () => {
  it('has each link as the runtime needs it, and what belongs to the machine is left out', async () => {
    const { image, warnings } = await pulled('chos:links', site.config)
    const found = await contents(image, site.imagePath)
    const link = (name: string) => found.get(name)?.replace(/^l\S+ -> /, '')
    for (const name of Object.keys(siteLinks).filter((each) => each.startsWith('etc/'))) expect(found.has(name), name).toBe(false)
    for (const name of ['etc/relative-site', 'etc/localtime2', 'usr/lib/itself', 'usr/lib/.wh.libx.so', 'etc/fifo', 'etc/ssh/ssh_host_rsa_key', 'etc/zz-linked', 'etc/krb5.keytab', 'etc/fstab', 'root/.ssh', 'boot', 'local', 'chos', 'lib/modules/5.0', 'proc/1', 'dev/null2', 'tmp/left', 'var/log/messages', 'srv/closed/inside']) expect(found.has(name), name).toBe(false)
    for (const name of ['cache', 'db', 'run', 'lock', 'spool']) expect(found.get(`var/${name}`)).toBe('drwxr-xr-x')
    expect(found.get('var/tmp')).toBe('drwxrwxrwt')
    expect(found.get('srv/closed')).toBe('drwx------')
    expect(found.get('bin/busybox')).toMatch(/^[-h]rwxr-xr-x/)
    for (const name of ['libx.so', 'by-root', 'by-chos', 'twice', 'absolute']) expect(link(`usr/lib/${name}`), name).toBe('/usr/lib/libx.so.1')
    expect(link('usr/lib/whole')).toBe('/')
    expect(link('usr/lib/relative')).toBe('libx.so.1')
    expect(link('usr/lib/upward')).toBe('../../../../etc/os-release')
    expect(link('usr/site')).toBe('/local/usr/site')
    expect(link('etc/almost')).toBe('/localhost')
    expect(link('etc/of-node')).toBe('/proc/mounts')
    for (const name of ['etc/os-release', 'etc/ssh/ssh_config', 'home/user/.bash_history', 'usr/lib/libx.so.1']) expect(found.get(name), name).toMatch(/^-/)
    const said = (pattern: RegExp) => expect(warnings).toEqual(expect.arrayContaining([expect.stringMatching(pattern)]))
    said(/^Links to nothing \(3\): .*etc\/almost -> \/localhost.*usr\/lib\/gone -> \/usr\/lib\/no-such.*usr\/site -> \/local\/usr\/site$/)
    said(/^Links through CHOS, that lead there directly now \(5\): .*usr\/lib\/libx\.so -> \/proc\/chos\/link\/usr\/lib\/libx\.so\.1/)
    said(/^Left out of the tree, as links that lead to themselves without CHOS \(1\): usr\/lib\/itself -> /)
    said(/^Empty directories now, that were links into \/local \(6\): var\/cache -> \/local\/var\/cache/)
    said(/^Left out of the tree, as links of etc into \/local \(14\): .*, and 4 more$/)
    said(/^Left out of the tree, as not everyone may read them \(2\): srv\/closed, var\/log\/messages$/)
    said(/^Left out of the tree, as names that stand for removed files in layers \(1\): usr\/lib\/\.wh\.libx\.so$/)
    said(/^Left out of the tree, as devices, FIFOs or sockets \(1\): etc\/fifo$/)
    const ran = await shifter(image, 'sh', '-c', 'cat /usr/lib/libx.so; echo; readlink /usr/lib/whole; test -d /var/spool && echo "$CHOS"; cat /etc/passwd >/dev/null && echo passwd')
    expect(ran).toMatchObject({ status: 0, stdout: 'x\n/\nlinks\npasswd\n' })
    expect((await pulled('chos:links', site.config)).image.id).toBe(image.id)
  })
})

describe('a name', () => {
  it('may be a path, and a path that is listed is one too', async () => {
    const byPath = work.at('os/by path')
    const { image } = await pulled(`chos:${byPath}`, site.config)
    expect(image).toMatchObject({ reference: `chos:${byPath}`, env: expect.arrayContaining([`CHOS=${byPath}`]) as string[] })
    expect((await shifter(image, 'cat', '/etc/os-release')).stdout).toBe('PRETTY_NAME="by path"\n')
    const named = await runAs(userA, [join(DEFAULT_PREFIX, 'bin/shifter'), `--image=chos:${byPath}`, 'cat', '/etc/os-release'])
    expect(named).toMatchObject({ status: 0, stdout: 'PRETTY_NAME="by path"\n' })
    const path = await pulled(`chos:${links}`, site.config)
    expect(path.image.sourceDigest).toBe((await pulled('chos:links', site.config)).image.sourceDigest)
  })

  it.each([
    ['unknown', 'no-such', /no tree "no-such" in %SHELLS of/],
    ['in another case', 'Links', /no tree "Links"/],
    ['with a blank', 'links ', /no tree "links "/],
    ['before the section', 'before', /no tree "before"/],
    ['of another section', 'other', /no tree "other"/],
    ['a path that is not listed', '/etc', /no tree "\/etc"/],
    ['a path into a tree', 'links/etc', /no tree "links\/etc"/],
    ['a way out', '../links', /no tree "\.\.\/links"/],
  ])('that is %s is refused', async (_, name, said) => {
    const error = await failure(pullImage(`chos:${name}`, { config: site.config }))
    expect(error).toMatchObject({ code: 'TREE_NOT_FOUND' })
    expect(error.message).toMatch(said)
  })

  it('that is the machine itself is refused', async () => {
    const error = await failure(pullImage('chos:local', { config: site.config }))
    expect(error).toMatchObject({ code: 'TREE_UNSAFE' })
    expect(error.message).toContain('its path is /, the machine itself')
  })
})
