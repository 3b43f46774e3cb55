import { readFile, writeFile } from 'node:fs/promises'
import { openApiDocument } from './openapi-document.ts'
import { envExample, withConfigurationTable, withPassedSettings } from './config-documents.ts'

/** Writes every document that is made from the code. The tests fail where one of them is out of date. */
const at = (name: string) => new URL(`../${name}`, import.meta.url)
await writeFile(at('openapi.json'), await openApiDocument())
await writeFile(at('.env.example'), envExample())
await writeFile(at('docs/configuration.md'), withConfigurationTable(await readFile(at('docs/configuration.md'), 'utf8')))
await writeFile(at('compose.yaml'), withPassedSettings(await readFile(at('compose.yaml'), 'utf8')))
