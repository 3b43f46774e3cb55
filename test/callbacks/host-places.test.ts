import t from 'tap'
import { HostPlaces } from '../../services/callbacks/host-places.ts'

t.test('so many go ahead for a host, as many wait, and the others are told when it is probably their turn', async (t) => {
  const places = new HostPlaces({ mostAtHost: 2, now: () => 0 })
  t.equal(await places.enter('a'), undefined)
  t.equal(await places.enter('a'), undefined)
  const waiting = [places.enter('a'), places.enter('a')]
  t.same([await places.enter('a'), await places.enter('a')], [{ inMs: 300 }, { inMs: 400 }], 'at the assumed pace of two in 200 ms')
  t.equal(await places.enter('b'), undefined, 'another host has its own')
  t.equal(places.leave('a', 200), false)
  t.equal(await waiting[0], undefined)
  t.equal(places.leave('a', 200), false)
  t.equal(await waiting[1], undefined)
  t.equal(places.leave('a', 200), true, 'there is room for those who were sent away')
  t.equal(places.leave('a', 200), true)
  t.equal(places.leave('b', 200), false)
})

t.test('where one host hangs those who find no room come again later and later, up to ten minutes', async (t) => {
  const places = new HostPlaces({ mostAtHost: 1, now: () => 0 })
  await places.enter('a')
  const next = places.enter('a')
  places.leave('a', 10_000)
  await next
  const waits: number[] = []
  places.enter('a').catch(() => undefined)
  for (let count = 0; count < 1_000; count++) waits.push((await places.enter('a'))?.inMs ?? 0)
  t.same(waits, waits.toSorted((a, b) => a - b))
  t.ok(waits[0] !== undefined && waits[0] > 4_000 && waits.at(-1) === 600_000, `${waits[0]} to ${waits.at(-1)}`)
})

t.test('at the end what waits is told to come again at once', async (t) => {
  const places = new HostPlaces({ mostAtHost: 1, now: () => 0 })
  await places.enter('a')
  const waiting = places.enter('a')
  places.close()
  t.same(await waiting, { inMs: 0 })
  t.same(await places.enter('b'), { inMs: 0 })
  t.equal(places.leave('a', 1), false)
})
