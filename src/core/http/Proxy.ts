/**
 * The way out of a network: which proxy a request takes, if any.
 *
 * @module
 */
import { BlockList, isIP } from "node:net"
import type { ProxySettings } from "../Registries.js"
import { kindOf } from "./Address.js"

/** The proxy for a URL; undefined where it is reached directly. This machine itself always is. */
export const proxyFor = (settings: ProxySettings, url: URL): string | undefined => {
  const proxy = url.protocol === "https:" ? settings.https : settings.http
  const host = url.hostname.replace(/^\[|\]$/g, "")
  const isHere = host === "localhost" || (isIP(host) !== 0 && kindOf(host) === "loopback")
  return proxy === undefined || isHere || settings.noProxy.some((rule) => covers(rule, host, url.port || (url.protocol === "https:" ? "443" : "80"))) ? undefined : proxy
}

/** Whether a rule of `no_proxy` covers a host: itself, a domain above it, or a range it is in. A rule is taken as it is written, blanks and all. */
const covers = (rule: string, host: string, port: string): boolean => {
  if (rule === "*") return true
  const [address = "", prefix] = rule.split("/")
  const family = isIP(address)
  if (prefix !== undefined) return family !== 0 && isIP(host) === family && inRange(address, Number(prefix), family, host)
  if (family !== 0) return host === address
  const [name = "", rulePort] = rule.split(":")
  if (rulePort !== undefined && rulePort !== port) return false
  const domain = name.replace(/^\*?\./, "").toLowerCase()
  return domain !== "" && (host === domain || host.endsWith(`.${domain}`))
}

const inRange = (address: string, prefix: number, family: number, host: string): boolean => {
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > (family === 6 ? 128 : 32)) return false
  const type = family === 6 ? "ipv6" : "ipv4"
  const list = new BlockList()
  list.addSubnet(address, prefix, type)
  return list.check(host, type)
}
