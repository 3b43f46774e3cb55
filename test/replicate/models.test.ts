import t from 'tap'
import { buildInput, parseModel, predictionsPath, styleModels } from '../../services/replicate/models.ts'
import { promptFor, styles } from '../../services/tasks/styles.ts'

const hash = 'a1'.repeat(32)

t.test('a model is owner/name or owner/name:version', async (t) => {
  t.same(parseModel('luma/ray'), { ok: true, owner: 'luma', name: 'ray', version: undefined })
  t.same(parseModel('wan-video/wan-2.2-t2v-fast'), { ok: true, owner: 'wan-video', name: 'wan-2.2-t2v-fast', version: undefined })
  t.same(parseModel(`an-owner/dreams:${hash}`), { ok: true, owner: 'an-owner', name: 'dreams', version: hash })
})

t.test('any other model is refused with a sentence, and gives no path', async (t) => {
  for (const model of ['', 'luma', 'luma/', '/ray', 'luma/ray/x', 'luma/ray:', 'luma/ray:a:b', ' luma/ray', 'luma/ray\n', '../ray',
    'luma/..', 'luma/ray?x', 'luma/r%2fy', 'https://replicate.com/luma/ray', `luma/${'a'.repeat(101)}`, hash]) {
    t.match(parseModel(model), { ok: false, fault: /^must be owner\/name or owner\/name:version/ }, JSON.stringify(model))
    t.throws(() => predictionsPath(model), TypeError)
  }
})

t.test('a model goes to its own path, a version into the body', async (t) => {
  t.same(predictionsPath('luma/ray'), { path: '/models/luma/ray/predictions' })
  t.same(predictionsPath(`an-owner/dreams:${hash}`), { path: '/predictions', version: `an-owner/dreams:${hash}` })
})

t.test('a style takes its own model, or the one for all', async (t) => {
  t.same(styleModels({ REPLICATE_MODEL: 'luma/ray' }), { Realistic: 'luma/ray', Animated: 'luma/ray', Cursed: 'luma/ray' })
  t.same(styleModels({
    REPLICATE_MODEL: 'luma/ray', REPLICATE_MODEL_REALISTIC: 'a/b', REPLICATE_MODEL_ANIMATED: 'c/d', REPLICATE_MODEL_CURSED: 'e/f'
  }), { Realistic: 'a/b', Animated: 'c/d', Cursed: 'e/f' })
})

t.test('a model gets only the inputs that it declares', async (t) => {
  const portrait = { prompt: 'A whale', aspect_ratio: '9:16' }
  const cases = {
    'luma/ray': portrait,
    'luma/ray-flash-2-540p': portrait,
    'minimax/video-01': { prompt: 'A whale' },
    'minimax/hailuo-2.3': { prompt: 'A whale' },
    'bytedance/seedance-1-pro': { ...portrait, seed: 7 },
    'google/veo-3-fast': { ...portrait, seed: 7 },
    'kwaivgi/kling-v2.5-turbo-pro': portrait,
    'wan-video/wan-2.2-t2v-fast': { ...portrait, seed: 7 },
    'pixverse/pixverse-v5': { ...portrait, seed: 7 },
    [`google/veo-3:${hash}`]: { ...portrait, seed: 7 },
    'an-owner/dreams': { prompt: 'A whale' },
    'constructor/toString': { prompt: 'A whale' }
  }
  for (const [model, input] of Object.entries(cases)) t.same(buildInput(model, 'A whale', 7), input, model)
})

t.test('a seed is a whole number that every model can take', async (t) => {
  t.match(buildInput('google/veo-3', 'A whale', 2 ** 31 - 1), { seed: 2_147_483_647 })
  for (const seed of [-1, 0.5, 2 ** 31, NaN]) t.throws(() => buildInput('luma/ray', 'A whale', seed), RangeError, String(seed))
})

t.test('the prompt is the style’s, a full stop and the dream as it was told', async (t) => {
  t.same(styles, ['Realistic', 'Animated', 'Cursed'])
  t.equal(promptFor('Realistic', 'A whale. $& 🐋'), 'Photorealistic, cinematic, surreal, dreamlike visuals. A whale. $& 🐋')
  t.equal(promptFor('Animated', 'x'), 'Beautiful, cute, Japanese animation woodblock style. x')
  t.equal(promptFor('Cursed', 'x'), 'Dark, unsettling, surreal, uncanny valley, hallucinogenic visuals. x')
})
