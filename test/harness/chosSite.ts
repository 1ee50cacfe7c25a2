/**
 * A site that has CHOS: its list, its configuration, and trees as such sites have them.
 *
 * @module
 */
import { chmodSync, copyFileSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type ProgressEvent, type PublishedImage, pullImage } from 'shifter-sdk'
import { runOk } from './process.js'
import { type TestSite, testSite } from './site.js'

/** Kept between runs: fetching and configuring its packages takes the better part of a minute. */
const DEBIAN = '/var/lib/shifter-sdk-test/debian-tree'

/** A Debian that debootstrap made. Where its packages can't be fetched it is put together from those of this machine. */
export const debianTree = async (): Promise<{ readonly path: string; readonly madeBy: 'debootstrap' | 'this machine' }> => {
  mkdirSync(dirname(DEBIAN), { recursive: true, mode: 0o755 })
  const making = `
    set -eu
    [ ! -e "$1/made-by" ] || exit 0
    work=$(mktemp -d "$1.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    mirror=$(sed -n 's/^URIs: *\\(http[^ ]*debian\\.org\\/debian\\)$/\\1/p; s/^deb \\(http[^ ]*\\) .*/\\1/p' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
    suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    if timeout 240 debootstrap --variant=minbase "$suite" "$work/tree" "\${mirror:-http://deb.debian.org/debian}" >"$work/log" 2>&1; then
      echo debootstrap >"$work/made-by"
    else
      rm -rf "$work/tree"
      mkdir "$work/tree"
      for package in base-files base-passwd bash coreutils dash libc6 libc-bin libtinfo6 libselinux1 libpcre2-8-0 libacl1 libattr1 libgmp10 grep sed; do
        dpkg-query --listfiles "$package" 2>/dev/null | grep -v '^/\\.$' | sed 's|^/||' | (cd / && tar --no-recursion --files-from=- --ignore-failed-read -cf - 2>/dev/null) | tar -xf - -C "$work/tree" 2>/dev/null || true
      done
      for name in bin sbin lib lib64; do [ -e "$work/tree/$name" ] || ln -s "usr/$name" "$work/tree/$name"; done
      echo 'this machine' >"$work/made-by"
    fi
    rm -rf "$1"
    mv "$work" "$1"
    trap - EXIT`
  await runOk(['flock', `${DEBIAN}.lock`, 'sh', '-c', making, 'sh', DEBIAN], { timeoutMs: 290_000 })
  const { stdout } = await runOk(['cat', join(DEBIAN, 'made-by')])
  const madeBy = stdout.trim() === 'debootstrap' ? ('debootstrap' as const) : ('this machine' as const)
  if (madeBy !== 'debootstrap') console.log('no packages could be fetched: the Debian tree is put together from this machine’s')
  return { path: join(DEBIAN, 'tree'), madeBy }
}

/** What a tree is made of: directories end with a slash; a text is a file, a list `[target]` a link. */
export type Entries = Readonly<Record<string, string | Buffer | readonly [target: string] | null>>

/** Writes a tree, its directories made as they are needed. */
export const writeTree = (root: string, entries: Entries): void => {
  mkdirSync(root, { recursive: true })
  for (const [name, what] of Object.entries(entries)) {
    const path = join(root, name)
    mkdirSync(name.endsWith('/') ? path : dirname(path), { recursive: true })
    if (typeof what === 'string' || Buffer.isBuffer(what)) writeFileSync(path, what)
    else if (what !== null) symlinkSync(what[0], path)
  }
}

/** The least that is a system: one static program. */
export const writeBusybox = (root: string): void => {
  mkdirSync(join(root, 'bin'), { recursive: true })
  copyFileSync('/usr/bin/busybox', join(root, 'bin/busybox'))
  chmodSync(join(root, 'bin/busybox'), 0o755)
  for (const name of ['sh', 'cat', 'ls', 'env', 'readlink', 'stat', 'id', 'test', 'echo', 'find']) linkSync(join(root, 'bin/busybox'), join(root, 'bin', name))
}

/** A C library of 64 bits, from before programs could do without a call of the kernel at a fixed address. */
export const oldLibrary = (): Buffer => {
  const library = Buffer.concat([Buffer.alloc(64), Buffer.from('\nGNU C Library stable release version 2.5, by\0')])
  library.write('\x7fELF', 'latin1')
  library.set([2, 1, 1], 4)
  library.writeUInt16LE(3, 16)
  library.writeUInt16LE(62, 18)
  return library
}

/** Links of the site's files, as CHOS trees have them. */
export const siteLinks: Entries = {
  ...Object.fromEntries(
    ['chos', 'chos.conf', 'passwd', 'group', 'shadow', 'gshadow', 'hosts', 'resolv.conf', 'nsswitch.conf', 'localtime', 'motd', 'ldap.conf', 'openldap/ldap.conf', 'ssh/ssh_known_hosts'].map(
      (name) => [`etc/${name}`, [`/local/etc/${name}`]] as const,
    ),
  ),
  'etc/mtab': ['/local/root/etc/mtab'],
  ...Object.fromEntries(['tmp', 'cache', 'db', 'run', 'lock', 'spool'].map((name) => [`var/${name}`, [`/local/var/${name}`]] as const)),
}

export interface ChosSite extends TestSite {
  readonly shells: string
  readonly conf: string
  /** Another `gateway.json`, with these keys of `chos`. */
  readonly with: (settings: object) => TestSite['config']
}

/** A site with a list of trees: root's, below a directory of root's. */
export const chosSite = (directory: string, list: string, settings: object = {}): ChosSite => {
  const site = testSite(directory)
  mkdirSync(join(directory, 'etc'))
  const shells = join(directory, 'etc/chos')
  const conf = join(directory, 'etc/chos.conf')
  writeFileSync(shells, list, { mode: 0o644 })
  const configured = (more: object) => ({ ...site.config, chos: { shells, conf, ...settings, ...more } })
  return { ...site, config: configured({}), shells, conf, with: configured }
}

/** A copy that a test may change. */
export const copyTree = async (from: string, to: string): Promise<void> => {
  await runOk(['cp', '-a', '--reflink=auto', from, to])
}

/** A pull, and what it warned of. */
export const pulled = async (reference: string, config: TestSite['config']) => {
  const events: ProgressEvent[] = []
  const image = await pullImage(reference, { config, onProgress: (event) => events.push(event) })
  return { image, events, warnings: events.flatMap((event) => (event._tag === 'Warning' ? [event.message] : [])) }
}

/** What is published: of each name its type and mode, and where it leads. */
export const contents = async (image: PublishedImage, imagePath: string): Promise<ReadonlyMap<string, string>> => {
  const { stdout } = await runOk(['sh', '-c', 'sqfs2tar "$1" | tar --numeric-owner -tvf - --quoting-style=escape', 'sh', join(imagePath, `${image.id}.squashfs`)])
  return new Map(stdout.trimEnd().split('\n').map((line) => {
    const [mode = '', , , , , name = '', ...rest] = line.trim().split(/\s+/)
    return [name.replace(/^\.\//, '').replace(/\/$/, ''), [mode, ...rest].join(' ')]
  }))
}
