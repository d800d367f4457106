import { afterAll, describe, expect, it } from 'vitest';
import { tinyPairs, trainUnpaired } from '../../../test/support/tiny-pairs.ts';
import { createRng } from '../../core/rng.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { type MarkedCompletion, mismatch } from '../../parts/unpaired-data.ts';
import { config, klFromMismatched, kto } from './kto.ts';

const completion = (prompt: number[], answer: number[]): MarkedCompletion => ({
  label: true,
  example: {
    ...{ where: '', promptLength: prompt.length, truncated: 0, boundary: 'exact' },
    ids: Int32Array.from([...prompt, ...answer]),
    mask: Uint8Array.from([...prompt.map(() => 0), ...answer.map(() => 1)]),
  },
});

describe('mismatched pairs', () => {
  it('have another row’s completion, of another prompt, cut to the longest sequence', () => {
    const rows = Array.from({ length: 30 }, (_, i) => completion([1, i % 3], [100 + i, 2, 2, 2]));
    const pairs = mismatch(rows, createRng(1), 5);
    pairs.forEach(({ ids, mask }, i) => {
      expect(Array.from(ids).slice(0, 2)).toEqual([1, i % 3]);
      expect((ids[2]! - 100) % 3).not.toBe(i % 3);
      expect(ids.length).toBe(5);
      expect(Array.from(mask)).toEqual([0, 0, 1, 1, 1]);
    });
    // Not one completion for all.
    expect(new Set(pairs.map(({ ids }) => ids[2])).size).toBeGreaterThan(12);
  });

  it('are refused where all prompts are equal', () => {
    const rows = [completion([1, 2], [3]), completion([1, 2], [4])];
    expect(() => mismatch(rows, createRng(1), 8)).toThrow(
      /at least two different prompts.*apo_zero_unpaired/,
    );
  });
});

it('the KL is the mean over the batch, cut at 0', () => {
  const none = { ids: [], mask: [] };
  const row = (reference: number) => ({
    ...{ example: none, label: true, reference: 0 },
    mismatched: { example: none, reference },
  });
  const anchors = (logProbs: number[]): unknown[] =>
    klFromMismatched
      .complete(
        [row(-5), row(-8)],
        logProbs.map((x) => [x]),
        true,
      )
      .map(({ anchor }) => anchor);
  expect(anchors([-4, -6])).toEqual([1.5, 1.5]); // (1 + 2) / 2
  expect(anchors([-7, -9])).toEqual([0, 0]);
});

describe('kto', () => {
  const engine = createOrtEngine({ threads: 1 });
  afterAll(() => engine.dispose());
  const step = (more: object = {}) => kto.build(config.parse({ model: '', data: '', beta: 0.5, ...more }));

  it('learns from single marks what holds on new prompts; with marks at random it does not', async () => {
    const learned = await trainUnpaired(engine, step(), tinyPairs(128, 7), 40);
    expect(learned['eval_rewards/margins']).toBeGreaterThan(1);
    expect(learned['eval_rewards/chosen']).toBeGreaterThan(0);
    const shuffled = await trainUnpaired(engine, step(), tinyPairs(128, 7, 'shuffled'), 40);
    expect(Math.abs(shuffled['eval_rewards/margins']!)).toBeLessThan(0.5 * learned['eval_rewards/margins']!);
  });

  it('without weight for desirable completions only undesirable ones are learned', async () => {
    const off = await trainUnpaired(engine, step({ desirableWeight: 0 }), tinyPairs(128, 7), 20);
    const on = await trainUnpaired(engine, step(), tinyPairs(128, 7), 20);
    expect(off['eval_rewards/rejected']).toBeLessThan(0);
    expect(on['eval_rewards/chosen']! - off['eval_rewards/chosen']!).toBeGreaterThan(0.3);
  });
});
