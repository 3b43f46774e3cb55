import { ConfigSchema } from '../config.ts'

const tableMarkers = { begin: '<!-- configuration: written by `npm run docs` -->\n', end: '<!-- end of configuration -->' }
const composeMarkers = { begin: '    # Other settings: written by `npm run docs`\n', end: '    # End of other settings\n' }

/** Settings that compose.yaml sets itself, or with its own default or message. They are written by hand, above the list of the others. */
const handwrittenSettings = new Set(['HOST', 'PORT', 'METRICS_PORT', 'DATA_DIR', 'DATABASE_URL', 'SHUTDOWN_DELAY_SECONDS', 'TRUST_PROXY', 'REPLICATE_API_TOKEN'])

const settings = Object.entries(ConfigSchema.properties)
const required = new Set<string>(ConfigSchema.required)

/** @returns `.env.example`: every setting with its description, the defaults commented out */
export function formatEnvExample (): string {
  return settings.map(([name, { description, default: value }]) =>
    `# ${stripBackticks(description)}\n${required.has(name) && value === undefined ? '' : '#'}${name}=${value ?? ''}\n`
  ).join('\n')
}

/** @returns `docs/configuration.md` with its table of settings generated again */
export function replaceConfigurationTable (document: string): string {
  const rows = settings.map(([name, { description, default: value }]) =>
    `| \`${name}\` | ${value === undefined ? '–' : `\`${value}\``} | ${description} |`
  )
  return replaceBetween(tableMarkers, document, `${['| name | default | meaning |', '|---|---|---|', ...rows].join('\n')}\n`)
}

/** @returns compose.yaml with its list of settings that are passed to the container generated again */
export function replacePassedSettings (compose: string): string {
  const names = settings.map(([name]) => name).filter((name) => !handwrittenSettings.has(name))
  return replaceBetween(composeMarkers, compose, names.map((name) => `    ${name}:\n`).join(''))
}

function replaceBetween ({ begin, end }: { begin: string, end: string }, document: string, text: string): string {
  const [before, rest] = document.split(begin)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined) throw new Error(`A document lacks the markers “${begin.trim()}” and “${end.trim()}”`)
  return before + begin + text + end + after
}

function stripBackticks (markdown: string | undefined): string {
  return (markdown ?? '').replaceAll('`', '')
}
