/**
 * How values of PostgreSQL are read, by the numbers of their types: whole numbers, which the driver gives as texts where they may be large, are
 * numbers, since ours are all below 2⁵³.
 *
 * @module
 */

const asNumber = (text: string): number => Number(text)
const asBoolean = (text: string): boolean => text === "t"
const asBytes = (text: string): Buffer => Buffer.from(text.slice(2), "hex")
const asText = (text: string): string => text

const BOOL = 16
const BYTEA = 17
const INT8 = 20
const INT2 = 21
const INT4 = 23

export const parserOf = (type: number): ((text: string) => unknown) => {
  switch (type) {
    case INT2:
    case INT4:
    case INT8:
      return asNumber
    case BOOL:
      return asBoolean
    case BYTEA:
      return asBytes
    default:
      return asText
  }
}
