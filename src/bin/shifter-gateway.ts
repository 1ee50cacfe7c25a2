#!/usr/bin/env node
/**
 * `shifter-gateway`: serves the gateway of a site to its users.
 *
 * @module
 */
import { parseArgs } from "node:util"
import manifest from "../../package.json" with { type: "json" }
import { commandOf, help, optionTypes, type Values } from "./shifter-gateway/usage.js"
import { failed, usageFault } from "./shifter-gateway/failure.js"

const run = async (argv: ReadonlyArray<string>): Promise<number> => {
  const json = argv.includes("--json")
  let values: Values
  let positionals: ReadonlyArray<string>
  try {
    ;({ values, positionals } = parseArgs({ args: [...argv], options: optionTypes, allowPositionals: true, strict: true }))
  } catch (error) {
    return failed(usageFault(error instanceof Error ? error.message.replace(/\.? To specify.*$/s, "") : String(error)), json)
  }
  if (values.version === true) return say(`shifter-gateway ${manifest.version}\n`)
  if (values.help === true) return say(help)
  const command = commandOf(positionals)
  if (command === undefined) return failed(usageFault(`there is no command "${positionals.join(" ")}"`), json)
  const foreign = Object.keys(values).find((option) => !command.options.some((own) => own === option))
  if (foreign !== undefined) return failed(usageFault(`${command.name} has no option --${foreign}`), json)
  const operands = positionals.slice(command.name.split(" ").length)
  if (operands.length > command.operands) return failed(usageFault(`${command.name} takes ${command.operands === 0 ? "no operand" : "one operand"}; there are ${operands.length}`), json)
  // Loaded only now: help and version answer at once.
  switch (command.name) {
    case "check":
      return (await import("./shifter-gateway/check.js")).check(values)
    case "serve":
      return (await import("./shifter-gateway/serve.js")).serve(values, manifest.version)
    case "token create":
    case "token list":
    case "token revoke":
      return (await import("./shifter-gateway/tokens.js")).tokens(command.name, operands[0], values)
    case "wlm render":
      return (await import("./shifter-gateway/wlm.js")).render(operands[0], values)
    case "wlm check":
      return (await import("./shifter-gateway/wlm.js")).check(operands[0], values)
  }
}

const say = (text: string): number => {
  process.stdout.write(text)
  return 0
}

process.exitCode = await run(process.argv.slice(2))
