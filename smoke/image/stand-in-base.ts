import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from './command.ts'

const certificates = '/etc/ssl/certs/ca-certificates.crt'

/**
 * Fills a folder with what the Dockerfile uses of the base image: a small Debian, Node and npm from npm packages, and a user
 * `node`. It needs root, debootstrap, and access to Debian's and npm's registries.
 * @param version of Node
 * @returns the environment of the image
 */
export async function fillStandIn (folder: string, version: string): Promise<Record<string, string>> {
  const packages = await mkdtemp(join(tmpdir(), 'dreamreel-packages-'))
  try {
    // Node's binary needs libatomic.
    await run('debootstrap', ['--variant=minbase', '--include=libatomic1', 'bookworm', folder])
    await run('npm', ['install', '--prefix', packages, '--no-package-lock', `node-${process.platform}-${process.arch}@${version}`, 'npm@11'])
    const [bin, modules] = [join(folder, 'usr/local/bin'), join(folder, 'usr/local/lib/node_modules')]
    await cp(join(packages, `node_modules/node-${process.platform}-${process.arch}/bin/node`), join(bin, 'node'))
    await cp(join(packages, 'node_modules/npm'), join(modules, 'npm'), { recursive: true, verbatimSymlinks: true })
    await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(bin, 'npm'))
    await run('chroot', [folder, 'useradd', '--uid', '1000', '--create-home', 'node'])
    // npm in the image has to trust the same registries as this machine.
    await mkdir(join(folder, '/etc/ssl/certs'), { recursive: true })
    await cp(certificates, join(folder, certificates))
    return { NODE_EXTRA_CA_CERTS: certificates, PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }
  } finally {
    await rm(packages, { recursive: true, force: true })
  }
}
