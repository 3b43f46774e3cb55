import { ConfigSchema } from '../config.ts'

const begin = '<!-- configuration: written by `npm run docs` -->'
const end = '<!-- end of configuration -->'

const settings = Object.entries(ConfigSchema.properties)
const required = new Set<string>(ConfigSchema.required)

/** `.env.example`: every setting with its description, defaults commented out. */
export function envExample (): string {
  return settings.map(([name, { description, default: value }]) =>
    `# ${plain(description)}\n${required.has(name) && value === undefined ? '' : '#'}${name}=${value ?? ''}\n`
  ).join('\n')
}

/** The README with its table of settings made anew. */
export function withConfigurationTable (readme: string): string {
  const [before, rest] = readme.split(begin)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined) throw new Error('The README has lost the marks of its configuration table')
  const rows = settings.map(([name, { description, default: value }]) =>
    `| \`${name}\` | ${value === undefined ? '–' : `\`${value}\``} | ${description} |`
  )
  return `${before}${begin}\n${['| name | default | meaning |', '|---|---|---|', ...rows].join('\n')}\n${end}${after}`
}

function plain (markdown: string | undefined): string {
  return (markdown ?? '').replaceAll('`', '')
}
