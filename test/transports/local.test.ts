/** The local transport: what every one does, and what it alone can. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import { Gateway, gatewayLayer, Site } from 'shifter-sdk'
import { beforeAll, describe, expect, it } from 'vitest'
import { madeSource, withGateway } from '../harness/gateway.js'
import { DEFAULT_PREFIX } from '../harness/native.js'
import { sha256, writeLayout } from '../harness/ociLayout.js'
import { type TestSite, testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'
import { imagePathTests, staged } from './imagePath.js'

imagePathTests('local', (site) => site)

const work = useWorkspace('local')
const reference = () => `oci:${work.at('layout')}:v`

beforeAll(() => { writeLayout(work.at('layout'), { tag: 'v', layers: [[{ name: 'a', type: 'file', data: 'a' }]] }) })

describe('an image path', () => {
  it('of a person is made, with the state directory', async () => {
    const site = Either.getOrThrow(Site.decode({ version: 1, stateDirectory: work.at('home/.local/state/shifter'), prefix: DEFAULT_PREFIX, systems: { personal: { imagePath: work.at('home/.local/share/images') } } }))
    const personal = { ...site, isPersonal: true, systems: new Map([...site.systems].map(([name, system]) => [name, { ...system, isPersonal: true }])) }
    const { images } = await Effect.runPromise(
      Effect.provide(
        Effect.flatMap(Gateway.Gateway, (gateway) => Effect.zipRight(gateway.pull({ reference: reference() }), gateway.list())),
        gatewayLayer(personal),
      ),
    )
    expect(images.length).toBe(1)
  })
})

describe('what a pull leaves on an image path', () => {
  it('is not another’s of the same number in another catalogue', async () => {
    const one = testSite(work.at('site'))
    const two = { ...one, config: { ...one.config, stateDirectory: `${one.stateDirectory}2` } }
    const contents = new Map<string, Set<string>>()
    const pulled = (target: TestSite, content: string) =>
      withGateway(target, {
        sources: [madeSource({ [content]: { content, before: Effect.sync(() => contents.set(content, new Set(staged(one.imagePath)))) } })],
      }, (gateway) => gateway.pull({ reference: `custom:${content}` }))
    const records = await Promise.all([pulled(one, 'x'), pulled(two, 'y')])
    for (const { id, imageSha256 } of records) expect(sha256(readFileSync(join(one.imagePath, `${id}.squashfs`)))).toBe(`sha256:${imageSha256}`)
    expect(new Set([...contents.values()].flatMap((names) => [...names])).size).toBe(2)
    expect(staged(one.imagePath)).toEqual([])
  })
})