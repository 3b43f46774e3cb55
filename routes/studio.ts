import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { problem } from '../errors.ts'
import pageHeaders, { type PageHeadersOptions } from '../plugins/page-headers.ts'
import { StaticFiles } from '../services/http/static-document.ts'
import { sendDocument } from './send-document.ts'

export type StudioRoutesOptions = Pick<PageHeadersOptions, 'fileSources'>

const pages = new StaticFiles(new URL('../public/', import.meta.url))
const files = new StaticFiles(new URL('../public/studio/', import.meta.url))

/** For fonts: a changed one needs a new name. */
const immutable = 'public, max-age=31536000, immutable'

/** Serves the studio, a page that uses the service as any client does: through its API. */
const studioRoutes: FastifyPluginAsync<StudioRoutesOptions> = async (app, { fileSources }) => {
  await app.register(pageHeaders, { fileSources, hasInlineStyles: false })
  const schema = { hide: true }

  app.get('/', { schema }, async (request, reply) => await send(pages, 'index.html', request, reply))
  app.get<{ Params: { name: string } }>('/studio/:name', { schema }, async (request, reply) => await send(files, request.params.name, request, reply))
}

async function send (folder: StaticFiles, name: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const file = await folder.get(name)
  if (file === undefined) throw problem('not_found')
  return await sendDocument(file, request, reply, name.endsWith('.woff2') ? immutable : undefined)
}

export default studioRoutes
