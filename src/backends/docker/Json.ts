/**
 * JSON documents of strangers. What two readers could understand differently, or what is nested to break one, is refused before anything is
 * built of it.
 *
 * @module
 */
import * as Either from "effect/Either"

/** Levels of objects and lists; images need six. */
const DEPTH = 64

/** The value of a document, or why it has none. */
export const parse = (bytes: Uint8Array): Either.Either<unknown, string> => {
  let text: string
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return Either.left("it is no UTF-8")
  }
  // A look at the tokens first: the parser keeps the last of two equal keys, and says nothing.
  const why = objection(text)
  if (why !== undefined) return Either.left(why)
  try {
    return Either.right(JSON.parse(text))
  } catch {
    return Either.left("it is no JSON")
  }
}

const QUOTE = 0x22
const BACKSLASH = 0x5c

/** What speaks against a text, if it is JSON at all. One pass, whatever the text: patterns with a memory of their own can be made to run out. */
const objection = (text: string): string | undefined => {
  /** Keys of each object that is open; undefined for a list. */
  const open: Array<Set<string> | undefined> = []
  /** The text just read, which is a key when a colon follows. */
  let last = ""
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === QUOTE) {
      const start = i
      for (i++; i < text.length && text.charCodeAt(i) !== QUOTE; i++) if (text.charCodeAt(i) === BACKSLASH) i++
      last = text.slice(start, i + 1)
    } else if (c === 0x7b || c === 0x5b) {
      if (open.length >= DEPTH) return `it is nested more than ${DEPTH} deep`
      open.push(c === 0x7b ? new Set() : undefined)
    } else if (c === 0x7d || c === 0x5d) open.pop()
    else if (c === 0x3a) {
      const key = unquoted(last)
      const keys = open.at(-1)
      if (keys?.has(key) === true) return `it has the key "${key.slice(0, 100)}" twice`
      keys?.add(key)
    }
  }
  return undefined
}

const unquoted = (text: string): string => {
  if (!text.includes("\\")) return text.slice(1, -1)
  try {
    return String(JSON.parse(text))
  } catch {
    return text
  }
}
