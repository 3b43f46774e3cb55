import type { ArchiveUnderTest } from './archive-under-test.ts'
import type { FaultSchedule } from './fault-schedule.ts'
import type { FaultyCallbackReceiver } from './faulty-callback-receiver.ts'
import type { FileFaults } from './file-faults.ts'
import type { ProcessSupervisor } from './process-supervisor.ts'
import type { ServedFile } from './served-files.ts'
import type { TaskEnd } from './task-ends.ts'
import type { Verdict } from './verdict.ts'

/** How many tasks or predictions are named for each finding. */
const maxNamed = 20

export interface Report {
  verdict: Verdict
  supervisor: ProcessSupervisor
  faultSchedule: FaultSchedule
  fileFaults: FileFaults
  archive: ArchiveUnderTest
  receiver: FaultyCallbackReceiver
  ends: TaskEnd[]
  posters: Map<string, ServedFile>
}

export function printReport ({ verdict, supervisor, faultSchedule, fileFaults, archive, receiver, ends, posters }: Report): void {
  print('Clients', [
    ['creates sent', verdict.creates],
    ['tasks accepted', verdict.accepted],
    ...indented(verdict.ends),
    ['predictions made', verdict.predictions],
    ['  by other clients of the account', verdict.foreign],
    ['  paid in vain', verdict.inVain]
  ])
  print('Faults of processes and the database', [...indented(supervisor.counts)])
  print('Faults of calls to Replicate', [...indented(faultSchedule.injected)])
  if (faultSchedule.providerFaults.isEnabled) print('Other faults of Replicate', [...indented(faultSchedule.providerFaults.counts)])
  print('Files of predictions', [...indented(fileFaults.counts)])
  print('Videos', [
    ['served from the archive', ends.filter(({ given }) => given !== undefined).length],
    ['lost', ends.filter(({ isVideoLost }) => isVideoLost).length],
    ['posters', posters.size],
    ...indented(archive.counts)
  ])
  print('Callbacks', [...indented(receiver.counts)])
  print('Must be 0', verdict.findings.map(({ what, affected }) => [what, affected.length]))
}

/** Names what each finding affects. */
export function printFindings ({ findings }: Verdict): void {
  for (const { what, affected } of findings.filter(({ affected }) => affected.length > 0)) {
    console.log(`\n${what}:`)
    for (const one of affected.slice(0, maxNamed)) console.log(`  ${one}`)
    if (affected.length > maxNamed) console.log(`  and ${affected.length - maxNamed} more`)
  }
}

function print (title: string, rows: [string, number][]): void {
  console.log(`\n${title}`)
  for (const [name, count] of rows) console.log(`  ${name.padEnd(44)}${String(count).padStart(6)}`)
}

function indented (counts: Map<string, number>): [string, number][] {
  return [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([name, count]) => [`  ${name}`, count])
}
