/**
 * The part of `gateway.json` that says how CHOS trees are found, and who may have them converted.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import { AbsolutePath } from "./AbsolutePath.js"

/** `chos`. */
export const Chos = Schema.Struct({
  /** The file that names the trees, as the CHOS of the site reads it. */
  shells: Schema.optionalWith(AbsolutePath, { default: () => "/etc/chos" }),
  /** The file with the variables that CHOS keeps and how it starts a shell; it may be missing. */
  conf: Schema.optionalWith(AbsolutePath, { default: () => "/etc/chos.conf" }),
  /** Who may have trees converted by a gateway service. The trees are those of `shells`, which are the site's own. */
  users: Schema.optionalWith(Schema.Literal("all", "none"), { default: () => "none" as const }),
  /** What is done when everyone may read a file of a tree, but not the account that converts: fail, or leave it out and say so. */
  unreadable: Schema.optionalWith(Schema.Literal("refuse", "skip"), { default: () => "refuse" as const }),
  /** Whether `$CHOS`, else the file below, names a user's image where he names none. */
  defaults: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** The file in a home directory whose first line names an environment. */
  userFile: Schema.optionalWith(Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9._-]{1,80}$/, { message: () => "the name of a file" }), Schema.filter((name) => !/^\.{1,2}$/.test(name) || "the name of a file")), { default: () => ".chos" }),
  /** Whether the tree of the name `default` stands in for a name that the site does not know. */
  failToDefault: Schema.optionalWith(Schema.Boolean, { default: () => false })
})
export type Chos = typeof Chos.Type
export const defaultChos: Chos = Schema.decodeSync(Chos)({})
