import type { Test } from 'tap'
import { ServiceProcess } from '../../harness/service-process.ts'
import { refuseInQuick } from './quick.ts'
import { testEnvironment } from './service.ts'

/**
 * The real `server.ts` as a process of its own on a free port, killed when the test ends.
 * @param logFile the file to which it writes its log; if omitted, the log is read through a pipe
 */
export async function runService (t: Test, env: Record<string, string>, logFile?: string): Promise<ServiceProcess> {
  refuseInQuick('A process of the service')
  const service = new ServiceProcess({
    env: { ...testEnvironment, LOG_LEVEL: 'info', PORT: '0', ...env },
    ...(logFile !== undefined && { log: { file: logFile } })
  })
  t.teardown(() => service.kill())
  return service
}
