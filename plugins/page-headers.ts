import fastifyHelmet from '@fastify/helmet'
import fp from 'fastify-plugin'

export interface PageHeadersOptions {
  /** where videos and posters are besides the origin of the page: sources of a Content-Security-Policy */
  fileSources: string[]
  /** whether the page adds styles to itself, as Swagger UI does */
  hasInlineStyles: boolean
}

/**
 * Limits what a page of the service can do, and what others can do with it. A page uses scripts and styles of its own origin, images and
 * videos also from where the service has them, and sends requests to the service only. Register it in a scope that has pages alone: helmet
 * computes its headers for each request, and a route that answers with a small JSON document would serve a third of the requests.
 */
export default fp<PageHeadersOptions>(async (scope, { fileSources, hasInlineStyles }) => {
  await scope.register(fastifyHelmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'", ...hasInlineStyles ? ["'unsafe-inline'"] : []],
        fontSrc: ["'self'"],
        imgSrc: ["'self'", 'data:', 'blob:', ...fileSources],
        mediaSrc: ["'self'", 'blob:', ...fileSources],
        connectSrc: ["'self'", ...fileSources],
        manifestSrc: ["'self'"],
        formAction: ["'self'"],
        baseUri: ["'none'"],
        frameAncestors: ["'none'"]
      }
    },
    xFrameOptions: { action: 'deny' },
    // The service speaks HTTP. Whether its host is reached by HTTPS alone is known to the proxy in front of it.
    strictTransportSecurity: false
  })
}, { name: 'page-headers' })
