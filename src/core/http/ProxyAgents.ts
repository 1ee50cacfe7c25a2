/**
 * Connections through a proxy. The packages are loaded by the first one: most sites have none.
 *
 * @module
 */
import type { Agent } from "node:http"

/** An agent whose connections to a proxy of HTTP end with the signal, those too that the proxy has not answered: no request knows them yet. */
export const agent = async (proxy: string, isSecure: boolean, signal: AbortSignal): Promise<Agent> => {
  const options = { keepAlive: true, signal }
  if (proxy.startsWith("socks")) return new (await import("socks-proxy-agent")).SocksProxyAgent(proxy, { keepAlive: true })
  return isSecure ? new (await import("https-proxy-agent")).HttpsProxyAgent(proxy, options) : new (await import("http-proxy-agent")).HttpProxyAgent(proxy, options)
}
