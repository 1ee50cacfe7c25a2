/**
 * `shifter-gateway token …`: tokens for portals, made on the gateway's machine by who may read its state directory.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { errorFields, FormatError, printable, type ShifterError } from "../../core/Errors.js"
import type { Site } from "../../core/Site.js"
import { type Token, Tokens, TokenScope } from "../../core/Tokens.js"
import { Audit } from "../../core/Audit.js"
import * as Accounts from "../../gateway/Accounts.js"
import { catalogLayer } from "../../live.js"
import { ran, usageFault } from "./failure.js"
import { siteOf } from "./serve.js"
import type { CommandName, Values } from "./usage.js"

const DAYS = 90
const LONGEST_DAYS = 366
const DAY_MILLIS = 24 * 3600 * 1000

export const tokens = (command: CommandName, id: string | undefined, values: Values): Promise<number> => {
  const print = (result: unknown, text: string) => void process.stdout.write(values.json === true ? `${JSON.stringify(result)}\n` : text)
  return ran(
    Effect.gen(function* () {
      const site = yield* siteOf(values.config)
      yield* work(site, command, id, values, print).pipe(Effect.provide(Layer.merge(catalogLayer(site), Accounts.layer)))
      return 0
    }),
    values.json === true
  )
}

const work = (site: Site, command: CommandName, id: string | undefined, values: Values, print: (result: unknown, text: string) => void): Effect.Effect<void, ShifterError, Tokens | Audit | Accounts.Accounts> =>
  Effect.gen(function* () {
    const service = yield* Tokens
    const noted = (why: string) => Effect.flatMap(Audit, (audit) => audit.write({ action: "token", uid: undefined, by: "service", system: undefined, reference: undefined, imageId: undefined, digest: undefined, why }))
    switch (command) {
      case "token create": {
        if (values.user === undefined) return yield* usageFault("token create needs --user NAME")
        if (values.label === undefined || values.label === "") return yield* usageFault("token create needs --label TEXT")
        const days = Number(values.days ?? DAYS)
        if (!Number.isInteger(days) || days < 1 || days > LONGEST_DAYS) return yield* usageFault(`--days is 1 to ${LONGEST_DAYS}`)
        const { secret, token } = yield* service.create({
          label: values.label,
          uid: yield* uidOf(values.user),
          scopes: yield* scopesOf(values.scope ?? "read"),
          systems: yield* systemsOf(site, values.system),
          expiresIn: days * DAY_MILLIS
        })
        yield* noted(`made token ${token.id} for uid ${token.uid}`)
        print({ token, secret: Redacted.value(secret) }, `${Redacted.value(secret)}\n`)
        return
      }
      case "token revoke": {
        if (id === undefined) return yield* usageFault("token revoke needs an ID", "See shifter-gateway token list.")
        if (!(yield* service.revoke(id, undefined))) return yield* usageFault(`there is no token ${id}`, "See shifter-gateway token list.")
        yield* noted(`revoked token ${id}`)
        print({ id, revoked: true }, `Revoked the token ${id}.\n`)
        return
      }
      default: {
        const found = yield* service.list(values.user === undefined ? undefined : yield* uidOf(values.user))
        print(found, found.map(line).join(""))
        return
      }
    }
  })

const line = ({ expires, id, label, scopes, systems, uid, used }: Token): string =>
  `${id}  uid ${uid}  ${scopes.join(",")}  ${systems.join(",") || "all systems"}  until ${new Date(expires).toISOString()}  ${used === undefined ? "never used" : `used ${new Date(used).toISOString()}`}  ${printable(label)}\n`

const uidOf = (user: string) =>
  Effect.gen(function* () {
    if (/^[0-9]{1,10}$/.test(user)) return Number(user)
    return (yield* (yield* Accounts.Accounts).uidOf(user)) ?? (yield* usageFault(`there is no user "${user}"`, "Name users by name or number."))
  })

const scopesOf = (list: string): Effect.Effect<ReadonlyArray<TokenScope>, FormatError> =>
  Effect.forEach(list.split(","), (word) => {
    const scope = TokenScope.literals.find((each) => each === word.trim())
    return scope === undefined ? usageFault(`there is no scope "${word}"`, `Scopes are ${TokenScope.literals.join(", ")}.`) : Effect.succeed(scope)
  })

const systemsOf = (site: Site, list: string | undefined): Effect.Effect<ReadonlyArray<string>, FormatError> =>
  Effect.forEach(list === undefined ? [] : list.split(","), (name) =>
    site.systems.has(name) ? Effect.succeed(name) : new FormatError(errorFields("SYSTEM_UNKNOWN", `There is no system "${name}", only ${[...site.systems.keys()].join(", ")}`))
  )
