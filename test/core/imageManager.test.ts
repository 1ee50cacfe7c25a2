/** `imagemanager.json`, as sites have it: what is made of it, what is told of it, and each mistake by its key. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Either from 'effect/Either'
import { Site } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import * as Expiration from '../../src/core/Expiration.js'

const local = { mungeSocketPath: '/var/run/munge/munge.socket.2', accesstype: 'local', admins: ['root'], usergroupService: 'local', local: { imageDir: '/images/' } }
const remote = { mungeSocketPath: '/run/b.socket', accesstype: 'remote', host: ['b1', 'b2'], ssh: { username: 'shifter', key: '/etc/shifter/key', imageDir: '/scratch/images' } }
const hub = { 'registry-1.docker.io': { remotetype: 'dockerv2', authentication: 'http' } }
/** What the reference installs as an example. */
const example = {
  WorkerThreads: 8, DefaultLustreReplication: 1, DefaultOstCount: 16, DefaultImageLocation: 'registry-1.docker.io', DefaultImageFormat: 'squashfs', PullUpdateTimeout: 300, ImageExpirationTimeout: '90:00:00:00',
  MongoDBURI: 'mongodb://shifter:hunter2@localhost/', MongoDB: 'Shifter', CacheDirectory: '/images/cache/', ExpandDirectory: '/images/expand/', Locations: hub, Platforms: { mycluster: local },
}
const decoded = (config: unknown) => Either.getOrThrow(Site.decode(config, '/etc/shifter/imagemanager.json'))
const mistakes = (config: unknown) => Either.match(Site.decode(config, 'file'), { onLeft: ({ code, what }) => `${code}: ${what}`, onRight: () => 'valid' })

describe('an imagemanager.json', () => {
  it('is a configuration', () => {
    const site = decoded(example)
    expect(site).toMatchObject({
      stateDirectory: '/images/cache/shifter-sdk', defaultSystem: 'mycluster', dockerLogins: undefined, source: '/etc/shifter/imagemanager.json',
      pulls: { atOnce: 8, updateSeconds: 300 }, lifetime: { imageSeconds: 90 * 86_400 }, import: { users: 'none', roots: [] },
      server: { listen: ['0.0.0.0:5000'], authentication: 'munge', publicReads: false }, dialect: { registry: 'docker.io', locations: { 'registry-1.docker.io': 'docker.io' } },
    })
    expect(site.systems.get('mycluster')).toMatchObject({ imagePath: '/images', admins: ['root'], munge: '/var/run/munge/munge.socket.2', ssh: undefined })
    expect(site.registry('docker.io')).toMatchObject({ named: true, plainHttp: false })
  })

  it('is told what has no effect, without its passwords', () => {
    const { warnings } = decoded({ ...example, Locations: { 'registry-1.docker.io': { ...hub['registry-1.docker.io'], authMethod: 'token' } }, Unheard: 1, PullUpdateTime: 60, LogLevel: 'debug', Metrics: false, ConverterOptions: { squashfs: '-b 1M' } })
    const named = warnings.filter((each) => each.includes(' has no effect: ')).map((each) => each.split(' ')[0]).sort()
    expect(named).toEqual(['ConverterOptions', 'DefaultLustreReplication', 'DefaultOstCount', 'ExpandDirectory', 'Locations.registry-1.docker.io.authMethod', 'Locations.registry-1.docker.io.authentication', 'LogLevel', 'Metrics', 'MongoDB', 'MongoDBURI', 'Platforms.mycluster.usergroupService', 'PullUpdateTime', 'Unheard'])
    expect(warnings.join('\n')).not.toContain('hunter2')
  })

  it('reaches systems by ssh', () => {
    const site = decoded({ ...example, Platforms: { a: local, b: { ...remote, ssh: { ...remote.ssh, sshCmdOptions: ['-p', '2222'] } } } })
    expect(site.systems.get('b')).toMatchObject({ imagePath: '/scratch/images', admins: [], ssh: { hosts: ['b1', 'b2'], username: 'shifter', keyFile: '/etc/shifter/key', knownHosts: join(homedir(), '.ssh/known_hosts') } })
    expect(site.defaultSystem).toBe('a')
    expect(site.warnings.join('\n')).toMatch(/Platforms\.b\.ssh\.sshCmdOptions has no effect.*\n[^]*Platforms\.b\.host: all hosts are tried/)
  })

  it('takes a text for one name where the reference looks for its parts', () => {
    const site = decoded({ ...example, ImportUsers: 'operator', Platforms: { mycluster: { ...local, admins: 'rooted' } } })
    expect(site.systems.get('mycluster')?.admins).toEqual(['rooted'])
    expect(site.import.users).toEqual(['operator'])
    expect(site.warnings.filter((each) => each.includes('takes every part of it for a name'))).toHaveLength(2)
  })

  it.each([[undefined, 'none'], [null, 'none'], ['None', 'none'], ['none', 'none'], ['all', 'all'], [[], 'none'], [['a', 'b'], ['a', 'b']]])('lets %j import', (ImportUsers, users) =>
    expect(decoded({ ...example, ImportUsers }).import.users).toEqual(users),
  )

  it('has registries by the names of their locations', () => {
    const { dialect, registry } = decoded({ ...example, DefaultImageLocation: 'lab', Locations: { ...hub, lab: { url: 'https://Registry.example.org:5000/', remotetype: 'dockerv2' }, plain: { url: 'http://10.0.0.1:80' } } })
    expect(dialect).toEqual({ registry: 'registry.example.org:5000', locations: { 'registry-1.docker.io': 'docker.io', lab: 'registry.example.org:5000', plain: '10.0.0.1' } })
    expect(registry('10.0.0.1')).toMatchObject({ named: true, plainHttp: true })
  })

  it('says that a timeout counts now', () => {
    expect(decoded({ ...example, PullUpdateTimeout: 60 })).toMatchObject({ pulls: { updateSeconds: 60 }, warnings: expect.arrayContaining([expect.stringContaining('PullUpdateTimeout is 60 seconds now')]) as string[] })
  })

  it('believes everyone on this machine alone', () => {
    expect(decoded({ ...example, Authentication: 'mock', Platforms: { s: { ...local, mungeSocketPath: undefined } } }).server).toMatchObject({ authentication: 'mock', listen: ['127.0.0.1:5000'] })
  })

  it.each<[string, unknown, string]>([
    ['no cache', { ...example, CacheDirectory: undefined }, 'CacheDirectory: '],
    ['a relative path', { ...example, CacheDirectory: 'cache' }, "CacheDirectory: an absolute path without '..'"],
    ['another format', { ...example, DefaultImageFormat: 'ext4' }, 'DefaultImageFormat: '],
    ['an unknown location', { ...example, DefaultImageLocation: 'other' }, 'DefaultImageLocation: "other" is none of the Locations (registry-1.docker.io)'],
    ['an old kind of registry', { ...example, Locations: { 'registry-1.docker.io': { remotetype: 'dockerhub' } } }, 'Locations.registry-1.docker.io.remotetype: '],
    ['a certificate somewhere', { ...example, Locations: { 'registry-1.docker.io': { sslcacert: 'ca.pem' } } }, "Locations.registry-1.docker.io.sslcacert: an absolute path"],
    ['a password in an address', { ...example, Locations: { ...hub, lab: { url: 'https://me:hunter2@lab' } } }, 'Locations.lab.url: a registry is reached at'],
    ['a path in an address', { ...example, Locations: { ...hub, lab: { url: 'https://lab/v2' } } }, 'Locations.lab.url: a registry is reached at'],
    ['two ways to one registry', { ...example, Locations: { ...hub, a: { url: 'https://lab:80' }, b: { url: 'https://lab:80', sslcacert: '/ca.pem' } } }, 'Locations.b: another location reaches lab:80'],
    ['a malformed time', { ...example, ImageExpirationTimeout: '90 days' }, 'ImageExpirationTimeout: "DAYS:HOURS:MINUTES:SECONDS"'],
    ['no time at all', { ...example, ImageExpirationTimeout: '0:0:0:0' }, 'ImageExpirationTimeout: '],
    ['another authentication', { ...example, Authentication: 'none' }, 'Authentication: '],
    ['an examiner', { ...example, examiner: '/usr/bin/scan' }, 'examiner: images are not examined'],
    ['signatures', { ...example, Platforms: { s: { ...local, use_external: true, policy_file: '/etc/policy.json' } } }, 'Platforms.s.policy_file: signatures are not checked'],
    ['no munge', { ...example, Platforms: { s: { ...local, mungeSocketPath: undefined } } }, 'Platforms.s.mungeSocketPath: is missing'],
    ['no image path', { ...example, Platforms: { s: { ...local, local: undefined } } }, 'Platforms.s.local.imageDir: is missing'],
    ['another way to a system', { ...example, Platforms: { s: { ...local, accesstype: 'ftp' } } }, 'Platforms.s.accesstype: '],
    ['no platform', { ...example, Platforms: {} }, 'Platforms: at least one platform'],
    ['ssh without anything', { ...example, Platforms: { s: { ...remote, host: undefined, ssh: {} } } }, 'Platforms.s.ssh.imageDir: is missing; Platforms.s.ssh.username: is missing; Platforms.s.ssh.key: is missing; name the private key that ssh found by itself; Platforms.s.host: is missing'],
    ['a name of a system that no file could have', { ...example, Platforms: { 'a/b': local } }, 'Platforms.a/b: is no name that can stand there'],
    ['a name of a location that no reference could have', { ...example, Locations: { ...hub, 'a/b': { url: 'https://lab' } } }, 'Locations.a/b: is no name that can stand there'],
    ['a location that every object has', { ...example, DefaultImageLocation: 'constructor' }, 'DefaultImageLocation: "constructor" is none of the Locations'],
    ['an address in the place of a location', { ...example, Locations: { ...hub, lab: 'https://me:hunter2@lab' } }, 'Locations.lab: must be an object, not a text'],
    ['a time that is too long', { ...example, PullUpdateTimeout: 10_000_000 }, 'PullUpdateTimeout: must be a number between'],
    ['several who may import in one text', { ...example, ImportUsers: 'ann,bob' }, 'ImportUsers.0: the name of an account, or its number'],
  ])('with %s is refused', (_, config, expected) => {
    const said = mistakes(config)
    expect(said.startsWith('CONFIG_INVALID: The configuration file is not valid: ')).toBe(true)
    expect(said).toContain(expected)
    expect(said).not.toContain('hunter2')
  })

  it('has all its mistakes named at once', () => {
    const said = mistakes({
      ...example, CacheDirectory: 'x', DefaultImageFormat: 'ext4', examiner: '/x', DefaultImageLocation: 'other', ImageExpirationTimeout: '90', Locations: { ...hub, lab: { url: 'lab' }, worse: 1 },
      Platforms: { a: { ...local, local: undefined }, b: { accesstype: 'ftp' } },
    })
    for (const part of [
      'CacheDirectory: an absolute path', 'DefaultImageFormat: must be "squashfs", not "ext4"', 'examiner: ', 'DefaultImageLocation: "other" is none of the Locations (registry-1.docker.io, lab, worse)',
      'ImageExpirationTimeout: "DAYS', 'Locations.lab.url: a registry', 'Locations.worse: must be an object, not 1', 'Platforms.a.local.imageDir: is missing', 'Platforms.b.accesstype: must be "local" or "remote", not "ftp"',
    ]) expect(said.split(part)).toHaveLength(2)
  })

  it('says that it has no more threads', () => {
    expect(decoded({ ...example, WorkerThreads: 1000 })).toMatchObject({ pulls: { atOnce: 256 }, warnings: expect.arrayContaining(['WorkerThreads is 256, the most there is here, instead of 1000.']) as string[] })
    expect(decoded({ ...example, WorkerThreads: 256 }).warnings.join()).not.toContain('WorkerThreads')
  })

  it('is known by its keys, wherever it lies', () => {
    const directory = mkdtempSync(join(tmpdir(), 'imagemanager-'))
    try {
      writeFileSync(join(directory, 'any.json'), JSON.stringify(example))
      expect(Either.getOrThrow(Site.load(join(directory, 'any.json'))).warnings.length).toBeGreaterThan(0)
    } finally {
      rmSync(directory, { recursive: true })
    }
    // One that says its version is of this project, whatever else it holds.
    expect(mistakes({ ...example, version: 1 })).toContain('CacheDirectory: there is no such key')
  })
})

describe('a time', () => {
  it.each<[string, number | undefined]>([['90:00:00:00', 7_776_000], ['0:1:2:3', 3723], ['0:0:0:90', 90], ['1:2:3', undefined], ['1:2:3:4:5', undefined], ['-1:0:0:0', undefined], ['1:0:0:x', undefined], ['', undefined], ['999999:0:0:0', undefined]])('%s', (text, seconds) =>
    expect(Expiration.parse(text)).toBe(seconds),
  )
})
