import { mkdirSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { StaticFiles } from '../../services/http/static-document.ts'

t.test('a folder or a file that cannot be read now is read at the next request', async (t) => {
  const folder = `${t.testdir()}/files`
  const files = new StaticFiles(pathToFileURL(`${folder}/`))
  await t.rejects(files.get('a.css'), { code: 'ENOENT' })
  mkdirSync(`${folder}/a.css`, { recursive: true })
  await t.rejects(files.get('a.css'), { code: 'EISDIR' })
  writeFileSync(`${folder}/b.css`, 'b')
  t.equal(await files.get('b.css'), undefined, 'the folder does not change')
})
