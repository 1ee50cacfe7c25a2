/**
 * What is wrong with a configuration, each mistake by its key.
 *
 * @module
 */
import * as ParseResult from "effect/ParseResult"

/** One mistake. */
export interface Complaint {
  /** Where: the keys that lead there, joined by dots; empty: the whole. */
  readonly key: string
  readonly what: string
}

/** What a schema complains of, each as `key.key: what`. */
export const complaints = (error: ParseResult.ParseError): ReadonlyArray<string> => mistakes(error).map(({ key, what }) => (key === "" ? what : `${key}: ${what}`))

/** What a schema complains of, once for each key, in the words of a guide. No text that stands there is told unless a word was expected: it may be a password. */
export const mistakes = (error: ParseResult.ParseError): ReadonlyArray<Complaint> => {
  const issues = ParseResult.ArrayFormatter.formatErrorSync(error)
  // That what may be left out is not left out is said of each of these too.
  const telling = issues.filter(({ message }) => !message.startsWith("Expected undefined"))
  const byPath = new Map<string, Array<ParseResult.ArrayFormatterIssue>>()
  for (const issue of telling.length === 0 ? issues : telling) {
    const path = issue.path.map(String).join(SEPARATOR)
    byPath.set(path, [...(byPath.get(path) ?? []), issue])
  }
  // Where one of several forms was nearly met, that it is not another one is no news.
  const isDeeper = (path: string) => [...byPath.keys()].some((other) => other.startsWith(`${path}${SEPARATOR}`))
  return [...byPath]
    .filter(([path, found]) => path === "" || found.some(({ _tag }) => _tag !== "Type") || !isDeeper(path))
    .map(([path, found]) => ({ key: path.replaceAll(SEPARATOR, "."), what: describe(found) }))
}

const SEPARATOR = "\0"

const describe = (issues: ReadonlyArray<ParseResult.ArrayFormatterIssue>): string => {
  const unexpected = issues.find(({ _tag }) => _tag === "Unexpected")
  if (unexpected !== undefined) return noSuchKey(unexpected)
  const messages = issues.map(({ message }) => message)
  const own = messages.filter((message) => !EXPECTED.test(message) && !message.startsWith("Unable to decode"))
  if (own.length > 0) return [...new Set(own)].join("; ")
  const expected = [...new Set(messages.flatMap((message) => EXPECTED.exec(message)?.[1] ?? []).map(inWords))]
  const actual = EXPECTED.exec(messages[0] ?? "")?.[2] ?? ""
  return `must be ${expected.join(" or ")}${instead(actual, expected)}`
}

const EXPECTED = /^Expected ([^]*?), actual ([^]*)$/
const LITERAL = /^(?:"[^"]*"|true|false|null|-?\d+)$/
const kinds: Readonly<Record<string, string>> = { string: "a text", number: "a number", boolean: "true or false" }

/** What a schema is called, in words. */
const inWords = (schema: string): string => {
  if (/^(?:Struct\b|\(?\{)/.test(schema)) return "an object"
  if (/^(?:ReadonlyArray<|NonEmptyArray<|readonly \[)/.test(schema)) return "a list"
  return Object.hasOwn(kinds, schema) ? (kinds[schema] ?? schema) : schema
}

const MOST_TOLD = 60

/** What stands there, where that helps. */
const instead = (actual: string, expected: ReadonlyArray<string>): string => {
  if (/^(?:true|false|null|-?[\d.]+(?:e[+-]?\d+)?)$/.test(actual)) return `, not ${actual}`
  if (actual.startsWith('"') && expected.every((each) => LITERAL.test(each))) return actual.length > MOST_TOLD ? "" : `, not ${actual}`
  const kind = actual.startsWith('"') ? "a text" : actual.startsWith("[") ? "a list" : actual.startsWith("{") ? "an object" : undefined
  // Of the right kind, it is not what more was asked of it.
  return kind === undefined || expected.some((each) => each === kind || /^an? (?:non empty )?(?:string|array)|items?\b/.test(each)) ? "" : `, not ${kind}`
}

const PATTERN = "is unexpected, expected: a string matching the pattern "

const noSuchKey = ({ message, path }: ParseResult.ArrayFormatterIssue): string => {
  if (message.startsWith(PATTERN)) return `is no name that can stand there: names match ${message.slice(PATTERN.length)}`
  const likely = nearest(String(path.at(-1)), [...message.matchAll(/"([^"]+)"/g)].map(([, name = ""]) => name))
  return `there is no such key${likely === undefined ? "" : `; did you mean "${likely}"?`}`
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
