/**
 * What may import what. A room of services/ imports the rooms below it and nothing else; see the map in CONTRIBUTING.md.
 * Besides the rooms named here each room may import packages, Node's own modules and its own files.
 */
const rooms = {
  tasks: [],
  runtime: [],
  telemetry: ['tasks'],
  net: ['runtime'],
  'rate-limit': ['runtime'],
  store: ['tasks', 'rate-limit', 'runtime'],
  'store/sqlite': ['store', 'tasks', 'telemetry', 'rate-limit', 'runtime'],
  'store/postgres': ['store', 'tasks', 'telemetry', 'rate-limit', 'runtime'],
  replicate: ['tasks', 'telemetry', 'rate-limit', 'net', 'runtime'],
  videos: ['store', 'tasks', 'telemetry', 'net', 'runtime'],
  generation: ['store', 'replicate', 'videos', 'tasks', 'telemetry', 'runtime'],
  retention: ['store', 'videos', 'tasks', 'telemetry', 'runtime'],
  callbacks: ['store', 'tasks', 'telemetry', 'net', 'runtime'],
  'live-status': ['store', 'tasks', 'runtime'],
  http: ['store', 'videos', 'tasks', 'telemetry', 'net', 'runtime'],
  access: ['store', 'rate-limit', 'runtime']
}

const filesOf = (room) => `^services/${room}/[^/]+$`

/** Files outside of services/ that a room may import. */
const rootFiles = { http: ['^errors\\.ts$'], replicate: ['^package\\.json$'] }

const roomRules = Object.entries(rooms).map(([room, below]) => ({
  name: `room-${room.replace('/', '-')}`,
  comment: `services/${room} imports ${below.length === 0 ? 'no other room' : `only ${below.join(', ')}`}.`,
  severity: 'error',
  from: { path: filesOf(room) },
  to: {
    pathNot: [...[room, ...below].map(filesOf), ...(rootFiles[room] ?? [])],
    dependencyTypesNot: ['core', 'npm', 'npm-dev', 'npm-optional']
  }
}))

/** Programs beside the product. They share harness/ and do not import each other. */
const programs = ['chaos', 'bench', 'fuzz', 'smoke']

const programRules = programs.map((program) => ({
  name: `only-its-tests-know-${program}`,
  comment: `Only ${program}/ and test/${program}/ import from ${program}/. What others need belongs to harness/.`,
  severity: 'error',
  from: { pathNot: `^(test/)?${program}/` },
  to: { path: `^${program}/` }
}))

export default {
  forbidden: [
    ...roomRules,
    {
      name: 'no-unplanned-room',
      comment: 'Every file of services/ is in a room that is named in .dependency-cruiser.js.',
      severity: 'error',
      from: {},
      to: { path: '^services/', pathNot: Object.keys(rooms).map(filesOf) }
    },
    {
      name: 'no-circle',
      severity: 'error',
      from: {},
      to: { circular: true }
    },
    {
      name: 'only-plugins-and-routes-know-fastify',
      severity: 'error',
      from: { path: '^services/' },
      to: { path: '^(node_modules/(fastify|fastify-plugin|@fastify)/|plugins/|routes/)' }
    },
    {
      name: 'one-place-names-a-backend',
      comment: 'A backend of the store is named by the plugin that chooses it and by the script that moves tasks between them.',
      severity: 'error',
      from: { path: '^(plugins|routes|services|scripts|[^/]+\\.ts$)', pathNot: '^(services/store/(sqlite|postgres)/|plugins/task-store\\.ts$|scripts/move-to-postgres\\.ts$)' },
      to: { path: '^services/store/(sqlite|postgres)/' }
    },
    {
      name: 'nothing-beside-the-product',
      comment: 'The service does not need what tests, measures or imitates it.',
      severity: 'error',
      from: { path: '^(plugins|routes|services|[^/]+\\.ts$)' },
      to: { path: '^(test|harness|chaos|bench|fuzz|smoke|scripts|replicate-emulator)/' }
    },
    {
      name: 'harness-knows-no-program',
      comment: 'harness/ serves the tests and the programs beside the product, and imports none of them.',
      severity: 'error',
      from: { path: '^harness/' },
      to: { path: '^(test|chaos|bench|fuzz|smoke|scripts)/' }
    },
    {
      name: 'only-tests-import-tests',
      severity: 'error',
      from: { pathNot: '^test/' },
      to: { path: '^test/' }
    },
    {
      name: 'emulator-stands-alone',
      comment: 'The emulator imitates Replicate: it shares no code with the service.',
      severity: 'error',
      from: { path: '^replicate-emulator/' },
      to: { pathNot: '^replicate-emulator/', dependencyTypesNot: ['core', 'npm', 'npm-dev', 'npm-optional'] }
    },
    {
      name: 'page-stands-alone',
      comment: 'The studio runs in browsers and uses the service through its API: it shares no code with it.',
      severity: 'error',
      from: { path: '^public/' },
      to: { pathNot: '^public/' }
    },
    {
      name: 'only-tests-import-the-page',
      severity: 'error',
      from: { pathNot: '^(public|test)/' },
      to: { path: '^public/' }
    },
    ...programRules,
    {
      name: 'no-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true }
    }
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(\\.tap|coverage|data)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'types', 'default'], extensions: ['.ts', '.js', '.json', '.d.ts'] }
  }
}
