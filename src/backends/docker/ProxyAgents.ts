/**
 * Connections through a proxy. The packages are loaded by the first one: most sites have none.
 *
 * @module
 */
import type { Agent } from "node:http"

export const agent = async (proxy: string, isSecure: boolean): Promise<Agent> => {
  const options = { keepAlive: true }
  if (proxy.startsWith("socks")) return new (await import("socks-proxy-agent")).SocksProxyAgent(proxy, options)
  return isSecure ? new (await import("https-proxy-agent")).HttpsProxyAgent(proxy, options) : new (await import("http-proxy-agent")).HttpProxyAgent(proxy, options)
}
