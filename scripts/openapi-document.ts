import { buildApp } from '../app.ts'
import { readConfig } from '../config.ts'

/** The OpenAPI document of the service, as `openapi.json` holds it. */
export async function buildOpenApiDocument (): Promise<string> {
  const app = await buildApp(readConfig({ REPLICATE_API_TOKEN: 'none', DATA_DIR: ':memory:', LOG_LEVEL: 'silent' }))
  try {
    await app.ready()
    return `${JSON.stringify(app.swagger(), null, 2)}\n`
  } finally {
    await app.close()
  }
}
