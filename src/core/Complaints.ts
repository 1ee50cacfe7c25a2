/**
 * What is wrong with a configuration, each mistake by its key.
 *
 * @module
 */
import * as ParseResult from "effect/ParseResult"

/** What a schema complains of, each as `key.key: what`. */
export const complaints = (error: ParseResult.ParseError): ReadonlyArray<string> => {
  const issues = ParseResult.ArrayFormatter.formatErrorSync(error)
  // That what may be left out is not left out is said of each of these too, with all that stands there, passwords among it.
  const telling = issues.filter(({ message }) => !message.startsWith("Expected undefined"))
  return (telling.length === 0 ? issues : telling).map(({ _tag, message, path }) => {
    const key = path.map(String).join(".")
    if (_tag !== "Unexpected") return key === "" ? message : `${key}: ${message}`
    const likely = nearest(String(path.at(-1)), [...message.matchAll(/"([^"]+)"/g)].map(([, name = ""]) => name))
    return `${key}: there is no such key${likely === undefined ? "" : `; did you mean "${likely}"?`}`
  })
}

/** The word that a mistyped one was likely meant to be. */
const nearest = (typed: string, words: ReadonlyArray<string>): string | undefined => {
  const ranked = words.map((word) => ({ word, distance: editDistance(typed.toLowerCase(), word.toLowerCase()) })).sort((a, b) => a.distance - b.distance)
  const [best] = ranked
  return best !== undefined && best.distance <= Math.max(2, best.word.length / 3) ? best.word : undefined
}

const editDistance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length] ?? 0
}
