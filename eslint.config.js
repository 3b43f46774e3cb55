import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['node_modules', '.tap', 'coverage', 'data'] }),
  // `npm run types` knows the names of the browser, and reports all others.
  { files: ['public/**/*.js'], rules: { 'no-undef': 'off' } }
]
