/**
 * What a registry says when it asks who one is.
 *
 * @module
 */

export interface Challenge {
  /** `basic`, `bearer`, or empty when neither is asked for. */
  readonly scheme: string
  readonly parameters: ReadonlyMap<string, string>
}

/** The scheme and parameters of a `WWW-Authenticate` header (RFC 9110, 11.6.1); the first challenge of a scheme that is known. */
export const parse = (header: string): Challenge => {
  const found = /(?:^|,\s*)(bearer|basic)(?:\s+|$)/i.exec(header)
  const parameters = new Map<string, string>()
  if (found === null) return { scheme: "", parameters }
  const rest = header.slice(found.index + found[0].length)
  const parameter = /\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))\s*(?:,|$)/y
  for (let match = parameter.exec(rest); match !== null; match = parameter.exec(rest)) {
    parameters.set((match[1] ?? "").toLowerCase(), match[2]?.replace(/\\(.)/g, "$1") ?? match[3] ?? "")
  }
  return { scheme: (found[1] ?? "").toLowerCase(), parameters }
}
