/** Configurations: each mistake is said by its key. */
import * as Either from 'effect/Either'
import { Site } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'

const valid = { version: 1, stateDirectory: '/var/lib/shifter', systems: { cluster: { imagePath: '/images' } } }
const said = (config: unknown): string => Either.match(Site.decode(config, '/etc/shifter/gateway.json'), { onLeft: ({ code, what }) => `${code}: ${what}`, onRight: () => 'valid' })
const prefix = 'CONFIG_INVALID: The configuration /etc/shifter/gateway.json '

describe('a configuration', () => {
  it.each([
    ['a path that is not absolute', { ...valid, systems: { cluster: { imagePath: 'images/../x' } } }, "is not valid: systems.cluster.imagePath: an absolute path without '..'"],
    ['a mistyped key', { ...valid, stateDirectroy: '/x' }, 'is not valid: stateDirectroy: there is no such key; did you mean "stateDirectory"?'],
    ['a mistyped key of a system', { ...valid, systems: { cluster: { imagePath: '/images', publicmode: '0644' } } }, 'is not valid: systems.cluster.publicmode: there is no such key; did you mean "publicMode"?'],
    ['a key like no other', { ...valid, zebra: 1 }, 'is not valid: zebra: there is no such key'],
    ['a newer version, whatever else it holds', { version: 2, new: [] }, 'has version 2, which is newer; up to 1 is understood'],
    ['no system', { ...valid, systems: {} }, 'is not valid: systems: at least one system'],
    ['no object', 7, 'is not valid: '],
    ['no default among several systems', { ...valid, systems: { a: { imagePath: '/a' }, b: { imagePath: '/b' } } }, 'names no "defaultSystem" that is one of its systems (a, b)'],
  ])('with %s', (_, config, expected) => {
    expect(said(config).startsWith(prefix + expected), said(config)).toBe(true)
    expect(said(config)).not.toMatch(/[{}\n]|└|─/)
  })

  it('with several mistakes names them all', () => {
    expect(said({ ...valid, stateDirectory: 'x', limits: { layers: 0 } })).toMatch(/stateDirectory: .*; limits\.layers: /)
  })
})
