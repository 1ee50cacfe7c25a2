/**
 * `login` and `logout`: what a registry wants to know, kept where `docker login` keeps it.
 *
 * @module
 */
import { loginRegistry, logoutRegistry } from "shifter-sdk"
import type { Credentials } from "./credentials.js"
import { safe } from "./text.js"

interface Place {
  readonly config: string | undefined
  readonly signal: AbortSignal
}

type Print = (result: unknown, text: string) => void

export const login = async (registry: string, credentials: Credentials, place: Place, print: Print): Promise<void> => {
  const kept = await loginRegistry(registry, credentials, place)
  print({ registry, kept }, `${safe(registry)} has accepted the login of ${safe(credentials.username)}; it is kept in ${safe(kept)}.\n`)
}

export const logout = async (registry: string, place: Place, print: Print): Promise<void> => {
  const removed = await logoutRegistry(registry, place)
  print({ registry, removed }, removed ? `The login of ${safe(registry)} is removed.\n` : `There was no login of ${safe(registry)}.\n`)
}
