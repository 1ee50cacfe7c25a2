/** Configurations: each mistake is said by its key. */
import * as Either from 'effect/Either'
import { Site } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'

const valid = { version: 1, stateDirectory: '/var/lib/shifter', systems: { cluster: { imagePath: '/images' } } }
const said = (config: unknown): string => Either.match(Site.decode(config, '/etc/shifter/gateway.json'), { onLeft: ({ code, what }) => `${code}: ${what}`, onRight: () => 'valid' })
const prefix = 'CONFIG_INVALID: The configuration /etc/shifter/gateway.json '

const withSsh = (more: object) => ({
  ...valid,
  systems: { cluster: { imagePath: '/images', ssh: { hosts: ['login1.example.org', '[::1]:2222'], username: 'shifter', keyFile: '/etc/shifter/key', knownHosts: '/etc/shifter/known_hosts', ...more } } },
})

describe('a configuration', () => {
  it('of a system by ssh says how it is reached', () => {
    expect(said(withSsh({ passphraseFile: '/p', bytesPerSecond: 1e8, stripe: { count: -1, size: 1048576 } }))).toBe('valid')
  })

  it.each<[string, unknown, string | RegExp]>([
    ['a path that is not absolute', { ...valid, systems: { cluster: { imagePath: 'images/../x' } } }, "is not valid: systems.cluster.imagePath: an absolute path without '..'"],
    ['a mistyped key', { ...valid, stateDirectroy: '/x' }, 'is not valid: stateDirectroy: there is no such key; did you mean "stateDirectory"?'],
    ['a mistyped key of a system', { ...valid, systems: { cluster: { imagePath: '/images', publicmode: '0644' } } }, 'is not valid: systems.cluster.publicmode: there is no such key; did you mean "publicMode"?'],
    ['a key like no other', { ...valid, zebra: 1 }, 'is not valid: zebra: there is no such key'],
    ['a newer version, whatever else it holds', { version: 2, new: [] }, 'has version 2, which is newer; up to 1 is understood'],
    ['no system', { ...valid, systems: {} }, 'is not valid: systems: at least one system'],
    ['no object', 7, 'is not valid: must be an object, not 7'],
    ['systems in a list', { ...valid, systems: [] }, 'is not valid: systems: must be an object, not a list'],
    ['a system of no name', { ...valid, systems: { 'my cluster': { imagePath: '/i' } } }, 'is not valid: systems.my cluster: is no name that can stand there: names match ^[A-Za-z0-9]'],
    ['another word than there are', { ...valid, readBack: 'Sampled' }, /^is not valid: readBack: must be "[^;]*" or "sampled"[^;]*, not "Sampled"$/],
    ['what is no list', { ...valid, import: { users: 'ann' } }, 'is not valid: import.users: must be "all" or "none" or a list, not a text'],
    ['one wrong name in a list', { ...valid, import: { users: ['ann', 'a,b'] } }, 'is not valid: import.users.1: the name of an account, or its number'],
    ['a number too large', { ...valid, limits: { layers: 4001 } }, 'is not valid: limits.layers: must be a number less than or equal to 4000, not 4001'],
    ['a registry by its URL', { ...valid, registries: { 'https://registry.example.org': {} } }, 'is not valid: registries.https://registry.example.org: is no name that can stand there'],
    ['a proxy with its password in one text', { ...valid, proxy: 'http://me:hunter2@proxy:3128' }, 'is not valid: proxy: must be an object, not a text'],
    ['a password where settings are', { ...valid, registries: { 'registry.example.org': 'me:hunter2' } }, 'is not valid: registries.registry.example.org: must be an object, not a text'],
    ['no default among several systems', { ...valid, systems: { a: { imagePath: '/a' }, b: { imagePath: '/b' } } }, 'names no "defaultSystem" that is one of its systems (a, b)'],
    ['a system by ssh without hosts', withSsh({ hosts: [] }), 'is not valid: systems.cluster.ssh.hosts: '],
    ['too many hosts', withSsh({ hosts: Array.from({ length: 17 }, (_, i) => `login${i}`) }), 'is not valid: systems.cluster.ssh.hosts: '],
    ['a host that is none', withSsh({ hosts: ['login1', '-oProxyCommand=x'] }), 'is not valid: systems.cluster.ssh.hosts.1: a host, with a port'],
    ['a port that is none', withSsh({ hosts: ['login1:65536'] }), 'is not valid: systems.cluster.ssh.hosts.0: a host, with a port'],
    ['no way to show who one is', withSsh({ keyFile: undefined }), 'is not valid: systems.cluster.ssh: either keyFile or agent'],
    ['two ways to show who one is', withSsh({ agent: '/run/agent' }), 'is not valid: systems.cluster.ssh: either keyFile or agent'],
    ['a passphrase of no key', withSsh({ keyFile: undefined, agent: '/run/agent', passphraseFile: '/p' }), 'is not valid: systems.cluster.ssh: passphraseFile belongs to keyFile'],
    ['an account with blanks', withSsh({ username: 'a b' }), 'is not valid: systems.cluster.ssh.username: the name of an account'],
    ['stripes of nothing', withSsh({ stripe: {} }), 'is not valid: systems.cluster.ssh.stripe: a count, a size or both'],
    ['a stripe of another size', withSsh({ stripe: { size: 1000 } }), 'is not valid: systems.cluster.ssh.stripe.size: '],
    ['a mistyped key of ssh', withSsh({ knownHost: '/k' }), 'is not valid: systems.cluster.ssh.knownHost: there is no such key; did you mean "knownHosts"?'],
  ])('with %s', (_, config, expected) => {
    const told = said(config)
    expect(told.startsWith(prefix)).toBe(true)
    if (typeof expected === 'string') expect(told.slice(prefix.length, prefix.length + expected.length)).toBe(expected)
    else expect(told.slice(prefix.length)).toMatch(expected)
    expect(told.replaceAll(/\{\d+,\d+\}/g, '')).not.toMatch(/[{}\n]|└|─|hunter2|Struct|Readonly/)
  })

  it('with several mistakes names them all', () => {
    expect(said({ ...valid, stateDirectory: 'x', limits: { layers: 0 } })).toMatch(/stateDirectory: .*; limits\.layers: /)
    expect(said(withSsh({ hosts: ['a b'], username: '', knownHosts: 'x', bytesPerSecond: 0 }))).toMatch(/ssh\.hosts\.0: .*; .*ssh\.username: .*; .*ssh\.knownHosts: .*; .*ssh\.bytesPerSecond: /)
  })
})
