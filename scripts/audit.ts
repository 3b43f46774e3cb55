import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Asks the registry whether a production dependency has a known vulnerability of level high or critical, and exits with 1 if one has.
 *
 * The registry may be unreachable, or may not answer such questions. Nothing is known then: the program says so, with the words
 * `AUDIT DID NOT RUN`, and exits with 0, so that the checks also run without a network. With AUDIT_REQUIRED=true it exits with 1.
 */

/** What `npm audit --json` prints: a report, or an error that has only a message. */
interface AuditOutput {
  auditReportVersion?: number
  message?: string
  metadata?: { vulnerabilities: Record<string, number>, dependencies: { prod: number } }
}

const root = fileURLToPath(new URL('../', import.meta.url))
const { code, output } = await runNpmAudit()
const report = parseOutput(output)

if (report?.auditReportVersion === undefined || report.metadata === undefined) {
  const isRequired = process.env.AUDIT_REQUIRED === 'true'
  console.error(`AUDIT DID NOT RUN: ${report?.message ?? 'npm audit printed no report'}`)
  console.error(`Nothing is known about vulnerabilities of the dependencies. ${isRequired ? 'AUDIT_REQUIRED is true, so this is a failure.' : 'With AUDIT_REQUIRED=true this would be a failure.'}`)
  process.exitCode = isRequired ? 1 : 0
} else {
  const { vulnerabilities: { high = 0, critical = 0, total = 0 }, dependencies: { prod } } = report.metadata
  console.log(`Audited ${prod} production packages: ${critical} critical, ${high} high and ${total - critical - high} lesser vulnerabilities.`)
  if (code !== 0) {
    console.error(`${output}\nSee \`npm audit --omit=dev\`.`)
    process.exitCode = 1
  }
}

/** @returns npm’s exit code, which is not 0 if there are findings of this level or if the audit failed, and its standard output */
function runNpmAudit (): Promise<{ code: number, output: string }> {
  return new Promise((resolve) => {
    const args = ['audit', '--omit=dev', '--audit-level=high', '--json']
    execFile('npm', args, { cwd: root, maxBuffer: 64 * 1024 * 1024 }, (error, stdout) => resolve({ code: error === null ? 0 : 1, output: stdout }))
  })
}

function parseOutput (text: string): AuditOutput | undefined {
  try {
    return JSON.parse(text) as AuditOutput
  } catch {
    return undefined
  }
}
