import type { CallbackReceiver } from './faulty-callback-receiver.ts'
import type { Lives } from './process-supervisor.ts'
import type { Verdict } from './verdict.ts'
import type { Weather } from './fault-schedule.ts'

/** At most so many tasks or predictions are named for each finding. */
const mostNamed = 20

export function printReport (verdict: Verdict, lives: Lives, weather: Weather, receiver: CallbackReceiver): void {
  print('Clients', [
    ['POSTs sent', verdict.posts],
    ['tasks accepted', verdict.accepted],
    ...indented(verdict.endings),
    ['predictions made', verdict.predictions],
    ['  by other clients of the account', verdict.foreign],
    ['  paid in vain', verdict.inVain]
  ])
  print('Trouble', [...indented(lives.counts)])
  print('Calls broken', [...indented(weather.struck)])
  if (weather.wider.isWanted) print('Wider troubles at Replicate', [...indented(weather.wider.counts)])
  print('Callbacks', [...indented(receiver.counts)])
  print('Must be none', verdict.findings.map(({ what, affected }) => [what, affected.length]))
}

/** Names what is affected by each finding. */
export function printFindings ({ findings }: Verdict): void {
  for (const { what, affected } of findings.filter(({ affected }) => affected.length > 0)) {
    console.log(`\n${what}:`)
    for (const one of affected.slice(0, mostNamed)) console.log(`  ${one}`)
    if (affected.length > mostNamed) console.log(`  and ${affected.length - mostNamed} more`)
  }
}

function print (title: string, rows: [string, number][]): void {
  console.log(`\n${title}`)
  for (const [name, count] of rows) console.log(`  ${name.padEnd(44)}${String(count).padStart(6)}`)
}

function indented (counts: Map<string, number>): [string, number][] {
  return [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([name, count]) => [`  ${name}`, count])
}
