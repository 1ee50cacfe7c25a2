/**
 * How far one request may go: said by who asks, kept by the HTTP client.
 *
 * @module
 */
import * as Context from "effect/Context"
import type { AddressKind } from "./Address.js"

/** The kinds of addresses a request may be sent to beside public ones, and the certificates it trusts beside the well-known ones. */
export interface ReachOptions {
  /** `any` for a host that a person or the configuration has named. */
  readonly kinds: "any" | ReadonlyArray<AddressKind>
  /** Certificates of a private authority, PEM. */
  readonly ca: string | undefined
}

/** The reach of a request; the public internet where nobody says otherwise. An HTTP client of a user's own may not know it. */
export class Reach extends Context.Reference<Reach>()("shifter-sdk/Reach", {
  defaultValue: (): ReachOptions => ({ kinds: [], ca: undefined })
}) {}

/** A request would have gone to an address out of its reach. */
export class AddressRefused extends Error {
  override readonly name = "AddressRefused"
  readonly code = "ADDRESS_REFUSED"
  constructor(
    readonly host: string,
    readonly address: string,
    readonly kind: AddressKind
  ) {
    super(`${host} is at the ${kind} address ${address}`)
  }
}

/** A connection, an answer or a body did not come in time. */
export class TooSlow extends Error {
  override readonly name = "TooSlow"
  readonly code = "TOO_SLOW"
}

/** A proxy did not let a request pass. */
export class ProxyRefused extends Error {
  override readonly name = "ProxyRefused"
  readonly code = "PROXY_REFUSED"
  constructor(
    what: string,
    /** The system's code for why it could not be reached. */
    readonly reason?: string | undefined
  ) {
    super(what)
  }
}
