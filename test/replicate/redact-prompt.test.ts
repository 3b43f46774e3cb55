import t from 'tap'
import { redactPrompt } from '../../services/replicate/redact-prompt.ts'

const withheld = '[withheld: repeats the dream]'

t.test('a message without a part of the dream is kept as it is', async (t) => {
  t.equal(redactPrompt('The model  is overloaded', 'A whale in the clouds'), 'The model  is overloaded')
})

t.test('a message that repeats the dream in any encoding is withheld', async (t) => {
  const broken = 'I fell\n\nThen I\n\nflew up\n\nto Mars'
  t.equal(redactPrompt('Not allowed: I fell Then I flew up to Mars', broken), withheld)
  const russian = 'Кит плывёт над школой'
  const escaped = JSON.stringify(russian).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`)
  t.equal(redactPrompt(`{"prompt": ${escaped}}`, russian), withheld)
  t.equal(redactPrompt(`prompt=${encodeURIComponent(russian).toLowerCase()}`, russian), withheld)
  t.equal(redactPrompt('“a WHALE in the clouds” is not allowed', 'A whale in the clouds'), withheld)
})
