/**
 * The part of `gateway.json` that says how virtual machines' disks are read.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import { AbsolutePath } from "./AbsolutePath.js"

const positive = (fallback: number) => Schema.optionalWith(Schema.Int.pipe(Schema.positive()), { default: () => fallback })

/** `vm`. */
export const Vm = Schema.Struct({
  /** Bytes of the largest disk, as the machine sees it. */
  virtualBytes: positive(1024 ** 4),
  /** Seconds that converting a disk may take, and reading it. */
  seconds: positive(3600),
  /** MiB of the kernel that reads a disk's file systems. */
  memoryMiB: Schema.optionalWith(Schema.Int.pipe(Schema.between(128, 4096)), { default: () => 512 }),
  /** Whose kernel reads them: a User-Mode Linux in a process, or the machine's own, which a crafted disk can attack then. */
  reader: Schema.optionalWith(Schema.Literal("uml", "kernel"), { default: () => "uml" as const }),
  /** The User-Mode Linux. */
  kernel: Schema.optionalWith(AbsolutePath, { default: () => "/usr/bin/linux.uml" }),
  /** The account that the tools which read a disk become where the gateway runs as root: one that has nothing. */
  account: Schema.optionalWith(Schema.String.pipe(Schema.pattern(/^[a-z_][a-z0-9_-]{0,31}$/, { message: () => "the name of an account" })), { default: () => "nobody" })
})
export type Vm = typeof Vm.Type
export const defaultVm: Vm = Schema.decodeSync(Vm)({})
