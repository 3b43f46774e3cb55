import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../harness/free-port.ts'
import { until } from '../harness/until.ts'

const temporaryPaths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

/** Starts the machine's nginx with a copy of a file, as it serves static files best. @returns the address of the copy */
export async function serveByNginx (file: string): Promise<{ url: string, stop: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'dreamreel-bench-'))
  // Its workers have no rights.
  await chmod(folder, 0o755)
  await copyFile(file, join(folder, 'video.mp4'))
  await chmod(join(folder, 'video.mp4'), 0o644)
  const port = await freePort()
  await writeFile(join(folder, 'nginx.conf'), configurationOf(folder, port))
  const child = spawn('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr', '-g', `daemon off; pid ${join(folder, 'nginx.pid')};`],
    { env: { PATH: `${process.env.PATH}:/usr/sbin` }, stdio: 'ignore' })
  const ended = once(child, 'exit')
  const url = `http://127.0.0.1:${port}/video.mp4`
  await until(() => fetch(url, { method: 'HEAD' }).then(({ ok }) => ok, () => false), 'nginx')
  return {
    url,
    async stop () {
      child.kill('SIGTERM')
      await ended
      await rm(folder, { recursive: true, force: true })
    }
  }
}

function configurationOf (folder: string, port: number): string {
  return `worker_processes 1;
events { worker_connections 1024; }
http {
  ${temporaryPaths.map((name) => `${name}_temp_path ${name};`).join(' ')}
  access_log off;
  sendfile on;
  tcp_nopush on;
  server {
    listen 127.0.0.1:${port};
    root ${folder};
  }
}
`
}
