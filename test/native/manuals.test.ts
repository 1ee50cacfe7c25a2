/** Manual pages, `--help` and the parsers are made from the same tables: what one of them says, all say. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import manuals from '../../formats/manuals.json' with { type: 'json' }
import options from '../../formats/options.json' with { type: 'json' }
import runtimeKeys from '../../formats/runtime-conf.json' with { type: 'json' }
import udiRootKeys from '../../formats/udiroot-conf.json' with { type: 'json' }
import { DEFAULT_PREFIX } from '../harness/native.js'
import { run, runOk } from '../harness/process.js'

interface Option {
  readonly name?: string
  readonly letter?: string
  readonly aliases?: readonly string[]
  readonly refused?: string
}
interface Program {
  readonly section: number
  readonly options: readonly Option[]
}

const PROGRAMS = Object.entries(options) as ReadonlyArray<readonly [string, Program]>
const FILES = { ...options, 'udiRoot.conf': manuals['udiRoot.conf'], 'shifter-job': manuals['shifter-job'], shifter_slurm: manuals.shifter_slurm }
const pages = Object.entries(FILES).map(([name, { section }]) => ({ name: `${name}(${section})`, file: join(DEFAULT_PREFIX, `share/man/man${section}/${name}.${section}`) }))
const binary = (name: string, section: number) => join(DEFAULT_PREFIX, section === 8 ? 'sbin' : 'bin', name)

/** A page as plain text, one blank between words: what a line break or a hyphen at its end cut is joined. */
const shown = async (file: string): Promise<string> => {
  const { stdout } = await runOk(['groff', '-man', '-Tascii', '-P-cbou', '-rHY=0', '-rLL=1000n', file])
  return stdout.replaceAll(/\s+/g, ' ')
}
/** `-w` and `--workdir` of the lines that begin with an option. */
const optionsIn = (text: string): string[] =>
  text.split('\n').flatMap((line) => {
    const words = /^\s*(-\w)?(?:, )?(--[a-z-]+)?(?=[[= \n]|$)/.exec(line)
    return words === null ? [] : words.slice(1).filter((word): word is string => word !== undefined)
  })
const inTable = (program: Program): string[] =>
  program.options.flatMap(({ letter, name }) => [...(letter === undefined ? [] : [`-${letter}`]), ...(name === undefined ? [] : [`--${name}`])])

describe('manual pages', () => {
  it.each(pages)('$name has no mistake that groff or mandoc sees', async ({ file }) => {
    expect(await run(['groff', '-ww', '-man', '-Tutf8', '-z', file])).toMatchObject({ status: 0, stdout: '', stderr: '' })
    const lint = await run(['mandoc', '-Tlint', '-W', 'warning', file])
    // A page has no date, so that the same sources make the same bytes; the version says how old it is.
    expect(`${lint.stdout}${lint.stderr}`.split('\n').filter((line) => line !== '' && !line.endsWith('WARNING: missing date, using "": TH'))).toEqual([])
  })

  it.each(PROGRAMS)('%s: help and manual name the options of the table, and the program knows them', async (name, program) => {
    const help = await run([binary(name, program.section), '--help'])
    expect(help).toMatchObject({ status: 0, stderr: '' })
    expect(optionsIn(help.stdout).sort()).toEqual(inTable(program).sort())
    const page = readFileSync(join(DEFAULT_PREFIX, `share/man/man${program.section}/${name}.${program.section}`), 'utf8')
    const part = /\.SH OPTIONS\n([^]*?)\n\.SH/.exec(page)?.[1] ?? ''
    const heads = part.split('.TP\n').slice(1).map((row) => row.split('\n')[0]?.replaceAll(/\\f[A-Z]/g, '').replaceAll('\\-', '-') ?? '')
    expect(optionsIn(heads.join('\n')).sort()).toEqual(inTable(program).sort())
    // Longest lines of help fit a terminal.
    expect(help.stdout.split('\n').filter((line) => line.length > 80)).toEqual([])
    for (const { refused, name: option } of program.options) {
      if (refused === undefined) continue
      const result = await run([binary(name, program.section), `--${option}=x`])
      expect(result.status).not.toBe(0)
      expect(help.stdout.replaceAll(/\s+/g, ' ')).toContain(`Refused: ${refused}`)
    }
    const wrong = await run([binary(name, program.section), '--no-such-option'])
    expect(wrong.status).not.toBe(0)
  })

  it('udiRoot.conf(5) names every key with its default, and runtime.conf(5) is the same page', async () => {
    const text = await shown(join(DEFAULT_PREFIX, 'share/man/man5/udiRoot.conf.5'))
    for (const [key, spec] of Object.entries({ ...udiRootKeys, ...runtimeKeys }) as Array<[string, { readonly text: string; readonly default?: string; readonly status?: string }]>) {
      expect(text).toContain(key)
      if (spec.status === 'deprecated' || spec.status === 'ignored') continue
      expect(text).toMatch(new RegExp(`${key}=\\S`))
      if (spec.default !== undefined) expect(text, key).toContain(`The default is ${spec.default}.`)
    }
    expect(text).toContain(join(DEFAULT_PREFIX, 'etc/shifter'))
    const other = await runOk(['man', '-M', join(DEFAULT_PREFIX, 'share/man'), '5', 'runtime.conf'], { env: { ...process.env, MANPAGER: 'cat', MAN_KEEP_FORMATTING: '' } })
    expect(other.stdout).toContain('KEYS OF RUNTIME.CONF')
  })
})
