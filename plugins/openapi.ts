import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import type { RouteHandlerMethod } from 'fastify'
import fp from 'fastify-plugin'
import packageJson from '../package.json' with { type: 'json' }
import { sendDocument } from '../routes/send-document.ts'
import { addCommonResponses, commonComponents } from '../services/http/common-responses.ts'
import { icon, logo } from '../services/http/logo.ts'
import { StaticDocument, StaticFiles } from '../services/http/static-document.ts'
import pageHeaders from './page-headers.ts'
import { taskEndedCallback } from './task-ended-callback.ts'

export interface OpenApiPluginOptions {
  /** see `PageHeadersOptions` */
  fileSources: string[]
}

/** Serves the OpenAPI document of all routes that are registered after it at `/openapi.json`, and a page to try them at `/docs`. */
export default fp<OpenApiPluginOptions>(async (app, { fileSources }) => {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Dreamreel',
        version: packageJson.version,
        description: 'Turns the description of a dream into a video. Post a dream and a style, get a task id at once, and fetch the video when it is finished.',
        contact: { name: 'Dreamreel' },
        license: { name: 'MIT', identifier: 'MIT' }
      },
      components: {
        ...commonComponents,
        securitySchemes: {
          apiKey: { type: 'http', scheme: 'bearer', description: 'An API key of the service: `drm_` and 43 further characters. Without API keys, or where requests without a key are admitted, it can be left out.' }
        }
      },
      // The second one means that a service may also admit requests without a key. Routes that never need a key have none.
      security: [{ apiKey: [] }, {}],
      servers: [{ url: '/', description: 'This instance' }],
      tags: [
        { name: 'Videos', description: 'Create, get, stream, list, cancel and delete videos' },
        { name: 'Operations', description: 'How the service is doing, for its operators' },
        { name: 'Health', description: 'Health checks for orchestrators and load balancers' }
      ]
    },
    // The plugin supports `callbacks` of a route, but copies only their body and responses; this callback also has parameters.
    transformObject: (given) => {
      const document = 'openapiObject' in given ? given.openapiObject : given.swaggerObject
      Object.assign(document.paths?.['/generate-video']?.post ?? {}, { callbacks: { taskEnded: taskEndedCallback } })
      addCommonResponses(document.paths ?? {})
      return document
    },
    refResolver: {
      buildLocalReference: (schema, _baseUri, _fragment, index) => typeof schema.$id === 'string' ? schema.$id : `schema-${index}`
    }
  })
  const json = sendWrittenOnce(() => JSON.stringify(app.swagger()), '.json')
  const yaml = sendWrittenOnce(() => app.swagger({ yaml: true }), '.yaml')
  await app.register(async (scope) => {
    // The plugin's own handlers would serialise the document, or open a file, for each request.
    const handlers: Record<string, RouteHandlerMethod> = { '/docs/json': json, '/docs/yaml': yaml, '/docs/static/*': sendFile }
    await scope.register(pageHeaders, { fileSources, hasInlineStyles: true })
    scope.addHook('onRoute', (route) => { route.handler = handlers[route.url] ?? route.handler })
    await scope.register(fastifySwaggerUi, {
      routePrefix: '/docs',
      theme: {
        title: 'Dreamreel',
        favicon: [{ filename: 'icon.svg', rel: 'icon', type: 'image/svg+xml', sizes: 'any', content: icon }]
      },
      logo: { type: 'image/svg+xml', content: logo }
    })
  })
  app.get('/openapi.json', { schema: { hide: true } }, json)
}, { name: 'openapi' })

/** Makes a handler that writes the document once, at the first request: by then all routes are registered. */
function sendWrittenOnce (write: () => string, extension: string): RouteHandlerMethod {
  let document: StaticDocument | undefined
  return async (request, reply) => {
    document ??= new StaticDocument(write(), extension)
    return sendDocument(document, request, reply)
  }
}

const files = new StaticFiles(new URL('static/', import.meta.resolve('@fastify/swagger-ui')))

const sendFile: RouteHandlerMethod = async (request, reply) => {
  const { '*': name } = request.params as { '*': string }
  const file = await files.get(name)
  return file === undefined ? reply.callNotFound() : sendDocument(file, request, reply)
}
