import { buildApp } from '../app.ts'
import { readConfig } from '../config.ts'

/** Builds the OpenAPI document of the service. @returns the contents of `openapi.json` */
export async function buildOpenApiDocument (): Promise<string> {
  const app = await buildApp(readConfig({ REPLICATE_API_TOKEN: 'none', DATA_DIR: ':memory:', LOG_LEVEL: 'silent' }))
  try {
    await app.ready()
    return `${JSON.stringify(app.swagger(), null, 2)}\n`
  } finally {
    await app.close()
  }
}
