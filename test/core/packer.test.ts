/** Which packers are refused. */
import { describe, expect, it } from 'vitest'
import { oldestVersion, unsuitable } from '../../src/core/Packer.js'
import { runOk } from '../harness/process.js'

describe('tar2sqfs', () => {
  it.each(['1.2.0', '1.2', '1.2.1', '1.3.0', '1.3.1', '1.10.0', '2.0', '10.0.0'])('of version %s is taken', (version) => {
    expect(unsuitable(version)).toBeUndefined()
  })
  it.each([
    ['0.9.1', /checksums/],
    ['1.0.3', /checksums/],
    ['1.0.4', /directory sizes/],
    ['1.0.10', /directory sizes/],
    ['1.1', /directory sizes/],
    ['1.1.2', /directory sizes/],
    ['1.1.3', /ordinary files/],
    ['1.1.4', /ordinary files/],
  ])('of version %s is refused with what is wrong with it', (version, why) => {
    expect(unsuitable(version)).toMatch(why)
  })
  it('that the tests run with is the oldest that is taken, or newer', async () => {
    const version = /\d+\.\d+(\.\d+)?/.exec((await runOk(['tar2sqfs', '--version'])).stdout)?.[0]
    expect(unsuitable(version ?? '0')).toBeUndefined()
    expect(unsuitable(oldestVersion)).toBeUndefined()
  })
})
