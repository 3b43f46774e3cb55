import t from 'tap'
import { progressBars } from '../../replicate-emulator/progress-bar.ts'
import { parseProgress } from '../../services/replicate/prediction-progress.ts'

t.test('the last progress bar of the logs counts', async (t) => {
  t.equal(parseProgress('  0%|          | 0/50 [00:00<?, ?it/s]\r 12%|█▏        | 6/50 [00:00<00:02, 16.60it/s]'), 12)
  t.equal(parseProgress('Using seed: 7\nframes: 100%|██████████| 50/50 [00:03<00:00, 16.60it/s]\nencoding…'), 100)
  t.equal(parseProgress('weights:  37%|███▋      | 1.20G/3.25G [00:11<00:19, 108MB/s]'), 37)
  t.equal(parseProgress(progressBars(0.5, 2_000)), 48)
})

t.test('logs without a bar tell no progress', async (t) => {
  for (const logs of ['', 'Using seed: 7', '50% done', '100%', 'a 12%| b', '999%|█| 6/50 [', '1.5%|█| 6/50 [']) {
    t.equal(parseProgress(logs), null, logs)
  }
})

t.test('of huge logs only the end is read', async (t) => {
  const bar = ' 12%|█▏        | 6/50 [00:00<00:02, 16.60it/s]\n'
  t.equal(parseProgress('12%|'.repeat(2_000_000) + bar), 12)
  t.equal(parseProgress(bar + 'x'.repeat(1_000_000)), null)
})
