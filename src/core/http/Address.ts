/**
 * What kind of place an IP address is, so that a stranger's redirect leads to no service that only this machine or its network can reach.
 *
 * @see https://www.iana.org/assignments/iana-ipv4-special-registry
 * @see https://www.iana.org/assignments/iana-ipv6-special-registry
 * @module
 */
import { BlockList, isIP } from "node:net"

/** `public`: the internet. All others are reached from inside alone. */
export type AddressKind = "public" | "loopback" | "link-local" | "private" | "reserved"

const blocks = (...subnets: ReadonlyArray<string>): BlockList => {
  const list = new BlockList()
  for (const subnet of subnets) {
    const [address = "", prefix] = subnet.split("/")
    list.addSubnet(address, Number(prefix), isIP(address) === 6 ? "ipv6" : "ipv4")
  }
  return list
}

const kinds: ReadonlyArray<readonly [AddressKind, BlockList]> = [
  // "This host": Linux connects 0.0.0.0 and :: to itself.
  ["loopback", blocks("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128")],
  ["link-local", blocks("169.254.0.0/16", "fe80::/10")],
  ["private", blocks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "fc00::/7", "fec0::/10")],
  ["reserved", blocks("192.0.0.0/24", "224.0.0.0/3", "ff00::/8")]
]

/** The kind of an address as `node:net` writes them. What is no address is `reserved`: nothing goes there. */
export const kindOf = (address: string): AddressKind => {
  const plain = address.split("%")[0] ?? ""
  const family = isIP(plain)
  if (family === 0) return "reserved"
  const inner = family === 6 ? embedded(plain) : undefined
  if (inner !== undefined) return kindOf(inner)
  return kinds.find(([, list]) => list.check(plain, family === 6 ? "ipv6" : "ipv4"))?.[0] ?? "public"
}

/** The IPv4 address that an IPv6 address of a translation (mapped, compatible, NAT64, 6to4) stands for. */
const embedded = (address: string): string | undefined => {
  const words = wordsOf(address)
  const at = (i: number) => `${(words[i] ?? 0) >> 8}.${(words[i] ?? 0) & 255}.${(words[i + 1] ?? 0) >> 8}.${(words[i + 1] ?? 0) & 255}`
  const zeros = (from: number, to: number) => words.slice(from, to).every((word) => word === 0)
  if (zeros(0, 5) && words[5] === 0xffff) return at(6)
  if (zeros(0, 6) && words[6] !== 0) return at(6)
  if (words[0] === 0x64 && words[1] === 0xff9b) return at(6)
  if (words[0] === 0x2002) return at(1)
  return undefined
}

/** The eight words of an IPv6 address. */
const wordsOf = (address: string): ReadonlyArray<number> => {
  // The URL parser writes every form in hexadecimal words.
  const [head = "", tail] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split("::")
  const parse = (text: string) => (text === "" ? [] : text.split(":").map((word) => parseInt(word, 16)))
  if (tail === undefined) return parse(head)
  const [left, right] = [parse(head), parse(tail)]
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right]
}
