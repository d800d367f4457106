/** Pairs of the SFT policy's own completions, labelled by a noisy annotator. */
import { DataError } from '../../core/errors.ts';

import { limits, type Pipeline, writeRows } from './context.ts';
import { loadPolicy, sample } from './policy.ts';

/**
 * Samples two completions per request and asks the annotator which is better; equal texts and ties are left out.
 * Writes `preferences.jsonl`, `preferences-held-out.jsonl`, and `samples.jsonl` for the reward model's normaliser.
 */
export async function labelPairs(
  { options, testbed, rng, path }: Pipeline,
  counts: { readonly train: number; readonly heldOut: number },
): Promise<Record<string, number>> {
  const { engine, interrupted, observer } = options;
  const policy = await loadPolicy(path('sft', 'model'));
  const sets = [
    ['train', counts.train, 'preferences.jsonl'],
    ['validation', counts.heldOut, 'preferences-held-out.jsonl'],
  ] as const;
  const figures: Record<string, number> = {};
  for (const [split, count, file] of sets) {
    const requests = testbed.requests(split, count);
    const samples = await sample(
      policy,
      requests.flatMap(({ prompt }) => [prompt, prompt]),
      rng.split('label').split(split),
      {
        engine,
        interrupted,
        maxNewTokens: limits.newTokens,
        onProgress: (tokens) => observer.stage('label: tokens', tokens, 2 * count * limits.newTokens),
      },
    );
    const rows = requests.flatMap((request, index) => {
      const texts = [samples[2 * index]!.text, samples[2 * index + 1]!.text] as const;
      // Training rows need words: a policy that stops at once has nothing to compare.
      if (texts[0] === texts[1] || texts.some((text) => text.trim() === '')) return [];
      const preferred = testbed.prefer(request, texts, index);
      if (preferred === undefined) return [];
      const [chosen, rejected] = preferred === 0 ? texts : [texts[1], texts[0]];
      return [{ prompt: request.prompt, chosen, rejected, requestId: request.id }];
    });
    if (rows.length === 0) {
      throw new DataError({
        where: `label (${split})`,
        expected: 'at least one pair whose completions differ in worth',
        received: `${requests.length} ties`,
        fix: 'The model may have learned too little to write sentences: use a larger --size',
      });
    }
    writeRows(path('data', file), rows);
    if (split === 'train') {
      const completions = samples.map(({ text }, index) => ({
        prompt: requests[Math.floor(index / 2)]!.prompt,
        completion: text,
      }));
      writeRows(
        path('data', 'samples.jsonl'),
        completions.filter(({ completion }) => completion.trim() !== '').slice(0, 512),
      );
    }
    const agreeing = rows.filter(
      ({ requestId, chosen, rejected }) =>
        testbed.judge(testbed.request(requestId), chosen).utility >=
        testbed.judge(testbed.request(requestId), rejected).utility,
    );
    figures[`${split}.pairs`] = rows.length;
    figures[`${split}.labels that agree with gold`] = agreeing.length / Math.max(rows.length, 1);
  }
  return figures;
}
