/**
 * Which sectors of a file have been found to hold something: one bit for each, so that what is kept in memory goes by the size of the file, whatever
 * its tables say.
 *
 * @module
 */

export interface SectorMap {
  /** Takes some sectors. False where one of them is taken already. */
  readonly take: (first: number, count: number) => boolean
}

const BITS = 8
const ALL = 0xff

export const make = (sectors: number): SectorMap => {
  const map = Buffer.alloc(Math.ceil(sectors / BITS))
  const takeSome = (byte: number, bits: number): boolean => {
    const found = map[byte] ?? ALL
    map[byte] = found | bits
    return (found & bits) === 0
  }
  return {
    take: (first, count) => {
      const end = first + count
      for (let at = first; at < end; ) {
        const byte = Math.floor(at / BITS)
        const from = at % BITS
        const to = Math.min(BITS, from + end - at)
        if (!takeSome(byte, (ALL << from) & (ALL >> (BITS - to)))) return false
        at += to - from
      }
      return true
    }
  }
}
