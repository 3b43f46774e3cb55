import t from 'tap'
import { loggableWords } from '../../services/replicate/redact-prompt.ts'

const withheld = '[withheld: repeats the dream]'

t.test('words without a piece of the dream are kept as they are', async (t) => {
  t.equal(loggableWords('The model  is overloaded', 'A whale in the clouds'), 'The model  is overloaded')
})

t.test('words that repeat the dream in any spelling are withheld', async (t) => {
  const broken = 'I fell\n\nThen I\n\nflew up\n\nto Mars'
  t.equal(loggableWords('Not allowed: I fell Then I flew up to Mars', broken), withheld)
  const russian = 'Кит плывёт над школой'
  const escaped = JSON.stringify(russian).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`)
  t.equal(loggableWords(`{"prompt": ${escaped}}`, russian), withheld)
  t.equal(loggableWords(`prompt=${encodeURIComponent(russian).toLowerCase()}`, russian), withheld)
  t.equal(loggableWords('“a WHALE in the clouds” is not allowed', 'A whale in the clouds'), withheld)
})
