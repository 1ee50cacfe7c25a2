/** What must be so whatever happened to processes: nothing is ready that is not whole, and nothing is left. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createClient } from '@libsql/client/sqlite3'
import { listImages, lookupImage } from 'shifter-sdk'
import { expect } from 'vitest'
import { failure } from './gateway.js'
import type { TestSite } from './site.js'

/** What is there is whole: every record has the image it speaks of, and a name points to such a one or to nothing. */
export const expectSound = async (site: TestSite, reference: string, context: string): Promise<void> => {
  if (!existsSync(site.imagePath)) return
  const { images, problems } = await listImages({ config: site.config })
  expect(problems.filter(({ what }) => what !== 'an image file without a record'), context).toEqual([])
  for (const { names, record } of images) {
    expect(createHash('sha256').update(readFileSync(join(site.imagePath, `${record.id}.squashfs`))).digest('hex'), context).toBe(record.imageSha256)
    for (const name of names) expect(await lookupImage(name, { config: site.config }), context).toBe(record.id)
  }
  if (!images.some(({ names }) => names.length > 0)) expect((await failure(lookupImage(reference, { config: site.config }))).code, context).toBe('IMAGE_NOT_FOUND')
}

const below = (directory: string) => (existsSync(directory) ? readdirSync(directory) : [])
const filesBelow = (directory: string) =>
  existsSync(directory) ? readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory()).map(({ name }) => name) : []
/** What nobody uses: what is staged, the scratch space of pulls, and blobs. */
export const leftovers = (site: TestSite): readonly string[] => [
  ...below(site.imagePath).filter((name) => name.startsWith('.staging')),
  ...below(join(site.stateDirectory, 'work')),
  ...filesBelow(join(site.stateDirectory, 'blobs')),
]

/** As if all leases had run out. */
export const expireLeases = async (site: TestSite): Promise<void> => {
  if (!existsSync(join(site.stateDirectory, 'catalog.db'))) return
  const client = createClient({ url: `file:${join(site.stateDirectory, 'catalog.db')}` })
  try {
    // What was made at all before it ended.
    const { rows } = await client.execute("SELECT 1 FROM sqlite_master WHERE name = 'pulls'")
    if (rows.length > 0) await client.execute("UPDATE pulls SET lease_until = 0 WHERE state IN ('active', 'reaping')")
  } finally {
    client.close()
  }
}
