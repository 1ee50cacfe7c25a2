#!/usr/bin/env node
/**
 * Writes docs/node-reference.md from formats/options.json, manuals.json, udiroot-conf.json and runtime-conf.json.
 *
 *   node scripts/docs-node.mjs            write it
 *   node scripts/docs-node.mjs --check    say whether it is what would be written
 */
import { cell, read, writeOrCheck } from './docs-write.mjs'

const programs = read('formats/options.json')
const manuals = read('formats/manuals.json')
const udiroot = read('formats/udiroot-conf.json')
const PREFIX = 'module_NAME_'
const keys = {
  udiroot: Object.entries(udiroot).filter(([name]) => !name.startsWith(PREFIX)),
  module: Object.entries(udiroot).filter(([name]) => name.startsWith(PREFIX)),
  runtime: Object.entries(read('formats/runtime-conf.json')),
}

const inUse = ([, { status }]) => status !== 'deprecated' && status !== 'ignored'
/** Options and what stands between backticks are literal; the rest means nothing to Markdown. */
const prose = (text) =>
  text
    .replaceAll('@CONFIG@', '<sysconfdir>/shifter')
    .split(/(`[^`]*`|(?<![\w-])--[a-z-]+)/)
    .map((part, i) => (i % 2 === 0 ? part.replace(/[\\*_[\]]/g, '\\$&').replaceAll('<', '&lt;') : `\`${part.replaceAll('`', '')}\``))
    .join('')
const literal = (text) => `\`${text.replaceAll('@CONFIG@', '<sysconfdir>/shifter').replaceAll('|', '\\|')}\``
const table = (head, rows) => [`| ${head.join(' | ')} |`, `|${'---|'.repeat(head.length)}`, ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n')

const optionWords = ({ letter, name, value, metavar }) => {
  const long = name === undefined ? undefined : `--${name}${{ none: '', needed: `=${metavar}`, optional: `[=${metavar}]` }[value]}`
  return [letter === undefined ? undefined : `-${letter}`, long].filter((word) => word !== undefined).map(literal).join(', ')
}
const optionText = ({ text, repeat, refused, aliases = [] }) =>
  [text, repeat ? 'Repeatable.' : '', refused === undefined ? '' : `Refused: ${refused}.`, ...aliases.map((alias) => `Also --${alias}.`)].filter((part) => part !== '').join(' ')

const keyRows = (name) =>
  keys[name].filter(inUse).map(([key, { text, required, default: value, values }]) => [
    literal(key),
    required === true ? 'required' : value === undefined ? '' : literal(value),
    prose(text).replaceAll('|', '\\|') + (values === undefined ? '' : ` One of ${values.map(literal).join(', ')}.`),
  ])

const section = ({ title, text = [], list = [], keys: of, deprecated }) =>
  [
    `### ${title}`,
    ...text.map(prose),
    ...(list.length === 0 ? [] : [table(['', ''], list.map(([name, says]) => [literal(name), prose(says).replaceAll('|', '\\|')]))]),
    ...(of === undefined ? [] : [table(['key', 'default', ''], keyRows(of))]),
    ...(deprecated === true ? [keys.udiroot.filter((entry) => !inUse(entry)).map(([name]) => literal(name)).join(', ')] : []),
  ].join('\n\n')

const page = (name) => {
  const manual = manuals[name]
  const program = programs[name] ?? manual
  return [
    `## ${name}`,
    ...(program.usage === undefined ? [] : [`\`\`\`text\n${program.usage.join('\n')}\n\`\`\``]),
    ...[...program.description, ...(program.notes ?? [])].map(prose),
    ...(program.commands === undefined ? [] : [table(['', ''], program.commands.map(({ words, text }) => [literal(words), cell(prose(text))]))]),
    ...(program.options === undefined ? [] : [table(['option', ''], program.options.map((option) => [optionWords(option), prose(optionText(option)).replaceAll('|', '\\|')]))]),
    ...manual.sections.map(section),
  ].join('\n\n')
}

const text = `---
title: Programs and settings of a node
---

<!-- Written by scripts/docs-node.mjs from formats/*.json; change it there. -->

# Programs and settings of a node

The same tables make the programs' parsers, \`--help\`, \`shifter-check config\` and the manual pages ${Object.keys(manuals)
  .map((name) => `\`${name}(${(programs[name] ?? manuals[name]).section})\``)
  .join(', ')}. How to use them is in the guides for [researchers](researcher.md) and for [who runs nodes](runtime-administration.md).

${Object.keys(manuals).map(page).join('\n\n')}
`

writeOrCheck('docs/node-reference.md', text, { script: 'scripts/docs-node.mjs', tables: 'the tables of formats/' })
