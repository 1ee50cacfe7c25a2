#!/usr/bin/env node
/**
 * `npm run bench -- NAME [OPTIONS]`: one measurement by name.
 *
 * @module
 */
const MEASUREMENTS = { gateway: () => import('./gateway.mjs'), pull: () => import('./pull.mjs'), slurm: () => import('./slurm.mjs'), start: () => import('./start.mjs') }

const [name, ...args] = process.argv.slice(2)
const load = MEASUREMENTS[name]
if (load === undefined) {
  console.error(`usage: npm run bench -- ${Object.keys(MEASUREMENTS).join('|')} [--help]`)
  process.exit(2)
}
try {
  await (await load()).main(args)
} catch (error) {
  console.error(`bench: ${error.message}`)
  process.exitCode = 1
}
