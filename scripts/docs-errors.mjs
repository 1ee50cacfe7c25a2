#!/usr/bin/env node
/**
 * Writes docs/errors.md from formats/errors.json.
 *
 *   node scripts/docs-errors.mjs            write it
 *   node scripts/docs-errors.mjs --check    say whether it is what would be written
 */
import { cell, read, writeOrCheck } from './docs-write.mjs'

const table = Object.entries(read('formats/errors.json'))

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

writeOrCheck('docs/errors.md', text, { script: 'scripts/docs-errors.mjs', tables: 'formats/errors.json' })
