import ipaddr from 'ipaddr.js'
import { BlockList, isIP } from 'node:net'

/** What may be given out as global at present, https://www.iana.org/assignments/ipv6-address-space. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3')
/** Public by its number, yet a cloud's own service for the machines in it: Azure's. */
const cloudServices = new Set(['168.63.129.16'])
const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8)
loopback.addAddress('::1', 'ipv6')

/**
 * Whether an address belongs to the public internet: none of this machine, of its networks, of a cloud's metadata, and
 * no IPv6 address that stands for an IPv4 one which does not.
 * @param address in the notation of `inet_ntop`, as resolvers and `new URL` give it
 */
export function isPublicAddress (address: string): boolean {
  // The library reads older notations as well.
  if (isIP(address) === 0) return false
  const parsed = ipaddr.process(address)
  if (parsed.range() !== 'unicast') return false
  return parsed instanceof ipaddr.IPv6 ? parsed.match(globalUnicast) : !cloudServices.has(parsed.toString())
}

/** Whether only the machine itself can reach what listens on this host. */
export function isLoopback (host: string): boolean {
  const family = isIP(host)
  return family === 0 ? host === 'localhost' : loopback.check(host, family === 6 ? 'ipv6' : 'ipv4')
}
