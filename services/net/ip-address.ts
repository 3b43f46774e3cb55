import ipaddr from 'ipaddr.js'
import { BlockList, isIP, isIPv4, isIPv6, SocketAddress } from 'node:net'

/** The only range of global unicast addresses so far, https://www.iana.org/assignments/ipv6-address-space. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3')
/** A public address that Azure uses for a service inside its virtual machines' network. */
const cloudServices = new Set(['168.63.129.16'])
const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8)
loopback.addAddress('::1', 'ipv6')

/**
 * Whether an address belongs to the public internet. Addresses of this machine, of private networks and of a cloud's metadata service
 * do not, and neither do IPv6 addresses that embed such an IPv4 address.
 * @param address in the notation of `inet_ntop`, as resolvers and `new URL` give it
 */
export function isPublicAddress (address: string): boolean {
  // The library also accepts older notations, which are refused here.
  if (isIP(address) === 0) return false
  const parsed = ipaddr.process(address)
  if (parsed.range() !== 'unicast') return false
  return parsed instanceof ipaddr.IPv6 ? parsed.match(globalUnicast) : !cloudServices.has(parsed.toString())
}

/**
 * Brings an address into the notation in which equal addresses are equal texts: IPv4 also where it is embedded in IPv6 (`::ffff:…`), IPv6
 * in its shortest form, without the name of a network interface.
 * @returns undefined if it is no IP address
 */
export function normalizeAddress (text: string): string | undefined {
  if (isIPv4(text)) return text
  const mapped = embeddedIPv4(text)
  if (mapped !== undefined) return mapped
  const [address = ''] = text.split('%')
  if (!isIPv6(address)) return undefined
  // Node's own notation. The library would take four times as long, and this is done several times for each request.
  const normal = new SocketAddress({ address, family: 'ipv6' }).address
  return embeddedIPv4(normal) ?? normal
}

function embeddedIPv4 (text: string): string | undefined {
  const address = text.startsWith('::ffff:') ? text.slice('::ffff:'.length) : ''
  return isIPv4(address) ? address : undefined
}

/**
 * What one client has at least: an IPv4 address, or a /64 of IPv6, in which it can choose any address.
 * @param address as the system gives it
 */
export function addressNetwork (address: string): string {
  const normal = normalizeAddress(address) ?? address
  return isIPv6(normal) ? `${ipaddr.IPv6.networkAddressFromCIDR(`${normal}/64`).toString()}/64` : normal
}

/** Whether a server that listens on this host is reachable from the machine itself only. */
export function isLoopback (host: string): boolean {
  const family = isIP(host)
  return family === 0 ? host === 'localhost' : loopback.check(host, family === 6 ? 'ipv6' : 'ipv4')
}
