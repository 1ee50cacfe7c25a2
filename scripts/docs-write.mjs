/** A page of the guides that is made from tables: written, or with --check compared with what is there. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))
export const read = (path) => JSON.parse(readFileSync(at(path), 'utf8'))

/** Text for a cell of a table. */
export const cell = (text) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;')

export const writeOrCheck = (page, text, { script, tables }) => {
  if (process.argv[2] !== '--check') {
    writeFileSync(at(page), text)
    return
  }
  let found = ''
  try {
    found = readFileSync(at(page), 'utf8')
  } catch {
    // Missing is as good as different.
  }
  if (found === text) return
  console.error(`${page} is not what ${tables} say. Run: node ${script}`)
  process.exit(1)
}
