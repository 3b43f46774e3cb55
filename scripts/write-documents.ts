import { readFile, writeFile } from 'node:fs/promises'
import { formatEnvExample, replaceConfigurationTable, replacePassedSettings } from './config-documents.ts'
import { buildOpenApiDocument } from './openapi-document.ts'

/** Writes every document that is generated from the code. The tests fail if one of them is out of date. */
const at = (name: string) => new URL(`../${name}`, import.meta.url)
await writeFile(at('openapi.json'), await buildOpenApiDocument())
await writeFile(at('.env.example'), formatEnvExample())
await writeFile(at('docs/configuration.md'), replaceConfigurationTable(await readFile(at('docs/configuration.md'), 'utf8')))
await writeFile(at('compose.yaml'), replacePassedSettings(await readFile(at('compose.yaml'), 'utf8')))
