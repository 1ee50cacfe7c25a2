/**
 * The guides as tests see them: their fenced blocks.
 *
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from '../package/dist.js'

export interface Block {
  readonly file: string
  readonly line: number
  /** The first word after the fence. */
  readonly language: string
  /** The rest after the fence. */
  readonly info: string
  readonly text: string
}

export const guides: readonly string[] = [
  'README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md',
  ...readdirSync(join(repository, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
]

export const blocksOf = (file: string): readonly Block[] => {
  const found: Block[] = []
  let open: { readonly line: number; readonly words: readonly string[]; readonly lines: string[] } | undefined
  for (const [i, line] of readFileSync(join(repository, file), 'utf8').split('\n').entries()) {
    const fence = /^```(.*)$/.exec(line)
    if (fence === null) {
      open?.lines.push(line)
    } else if (open === undefined) {
      open = { line: i + 2, words: (fence[1] ?? '').trim().split(' '), lines: [] }
    } else {
      const [language = '', ...info] = open.words
      found.push({ file, line: open.line, language, info: info.join(' '), text: `${open.lines.join('\n')}\n` })
      open = undefined
    }
  }
  if (open !== undefined) throw new Error(`${file}: the block at line ${open.line} does not end`)
  return found
}

export const allBlocks: readonly Block[] = guides.flatMap(blocksOf)
