#!/usr/bin/env node
/**
 * Writes docs/errors.md from formats/errors.json.
 *
 *   node scripts/docs-errors.mjs            write it
 *   node scripts/docs-errors.mjs --check    say whether it is what would be written
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const table = Object.entries(JSON.parse(readFileSync(at('formats/errors.json'), 'utf8')))

const exits = {
  1: 'not found, or the node or its configuration',
  2: 'the call or the configuration of the gateway',
  3: 'not allowed',
  4: 'the registry',
  5: 'the image is not right',
  6: 'converting, publishing or storing',
  7: 'another process took over',
  70: 'a defect of the program',
  127: 'the program inside could not be started',
  130: 'cancelled',
}

const cell = (text) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;')
const statuses = [...new Set(table.map(([, { exit }]) => exit))].sort((a, b) => a - b)
const text = `---
title: Errors
---

<!-- Written by scripts/docs-errors.mjs from formats/errors.json; change it there. -->

# Errors

Every error has a code, which is stable; a message of one line, which says what, where and what to do; and an exit status. The library throws
an error with \`code\`, \`reason\`, \`what\`, \`remedy\` and \`message\`; \`shifterimg\` prints \`shifterimg: CODE: message\`, or with \`--json\` an
object \`{"error":{…}}\` on standard output; \`shifter\` prints \`shifter: CODE: message\`. \`shifter\` ends with the status of the program it ran
when it ran one, so a status alone does not tell whose it is. The line does to people; programs, to which the program inside could say the same words, give
\`--report-fd=N\` and get \`CODE what\` on a pipe that it does not have.

| status | codes |
|---|---|
${statuses.map((status) => `| ${status}${exits[status] === undefined ? '' : ` (${exits[status]})`} | ${table.filter(([, { exit }]) => exit === status).map(([code]) => `\`${code}\``).join(' ')} |`).join('\n')}

| code | status | reason | what it means | what to do |
|---|---|---|---|---|
${table.map(([code, { reason, exit, means, remedy }]) => `| \`${code}\` | ${exit} | ${reason} | ${cell(means)} | ${cell(remedy)} |`).join('\n')}
`

const file = at('docs/errors.md')
if (process.argv[2] === '--check') {
  let found = ''
  try {
    found = readFileSync(file, 'utf8')
  } catch {
    // Missing is as good as different.
  }
  if (found !== text) {
    console.error('docs/errors.md is not what formats/errors.json says. Run: node scripts/docs-errors.mjs')
    process.exit(1)
  }
} else {
  writeFileSync(file, text)
}
