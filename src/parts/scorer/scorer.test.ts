import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { scoreModelFrom } from '../../models/score-model.ts';
import { fitNormalizer, formatRewardCard, normalizeScore, readRewardCard } from './reward-card.ts';
import { rewardModelScorer } from './reward-model-scorer.ts';
import { functionScorer, type ScoreItem, scoreAll } from './scorer.ts';

const item = (completionIds: readonly number[], more: Partial<ScoreItem> = {}): ScoreItem => ({
  prompt: 'p',
  completion: completionIds.join(' '),
  promptIds: [1, 2],
  completionIds,
  ...more,
});

describe('scoreAll', () => {
  it('takes functions that answer now or later, and keeps "cannot be scored" apart from 0', async () => {
    const scorer = functionScorer('length', ({ completionIds }) =>
      completionIds.length > 1 ? Promise.resolve(0) : undefined,
    );
    expect(await scoreAll(scorer, [item([3]), item([3, 4])])).toEqual([undefined, 0]);
  });
  it('refuses an infinite score and another number of scores', async () => {
    const infinite = functionScorer('f', () => Number.POSITIVE_INFINITY);
    await expect(scoreAll(infinite, [item([3])])).rejects.toThrow(/scorer f, completion 1 .*Infinity/);
    const none = { name: 'none', score: async () => [], dispose() {} };
    await expect(scoreAll(none, [item([3])])).rejects.toThrow(
      /expected 1 scores, one per completion, received 0/,
    );
  });
});

describe('rewardModelScorer', () => {
  const engine = createOrtEngine({ threads: 1 });
  afterAll(() => engine.dispose());
  const options = { engine, ...scoreModelFrom(tinyModel(), { rng: createRng(1) }), batchSize: 4, bucket: 8 };
  const normalizer = { mean: 0.5, std: 2, count: 10, source: 'test' };

  it('normalises by its card and appends the stop token to text, not to what was sampled', async () => {
    const raw = rewardModelScorer(options);
    const [plain, ended] = await raw.score([item([3]), item([3, 5])]);
    const card = { format: 1, eosRule: 'append', maxLength: 64, normalizer } as const;
    const scorer = rewardModelScorer({ ...options, card, eosId: 5 });
    const [text, sampled] = await scorer.score([item([3]), item([3], { finish: 'length' })]);
    expect(text).toBeCloseTo((ended! - 0.5) / 2, 5);
    expect(sampled).toBeCloseTo((plain! - 0.5) / 2, 5);
    scorer.dispose();
    raw.dispose();
  });
  it('cannot score what is longer than the context, and refuses a language model', async () => {
    const scorer = rewardModelScorer(options);
    const [long, short] = await scorer.score([item(new Array(70).fill(3)), item([3])]);
    expect(long).toBeUndefined();
    expect(short).toBeTypeOf('number');
    scorer.dispose();
    expect(() => rewardModelScorer({ ...options, ...tinyModel() })).toThrow(
      /expected a model with a score head/,
    );
  });
});

describe('reward card', () => {
  it('fits mean and deviation: 1 and 3 become −1 and 1; equal scores become 0', () => {
    const normalizer = fitNormalizer([1, 3], 'test');
    expect([1, 3].map((score) => normalizeScore(score, normalizer))).toEqual([-1, 1]);
    expect(normalizeScore(7, fitNormalizer([7, 7, 7], 'test'))).toBe(0);
    expect(normalizeScore(7, undefined)).toBe(7);
  });
  it('comes back from its file to the bit; another file is refused', () => {
    const folder = mkdtempSync(join(tmpdir(), 'heed-card-'));
    const normalizer = fitNormalizer([0.1, 0.7, 1 / 3], 'test');
    const card = { format: 1, eosRule: 'append', maxLength: 9, normalizer } as const;
    expect(readRewardCard(folder)).toBeUndefined();
    writeFileSync(join(folder, 'reward_card.json'), formatRewardCard(card));
    expect(readRewardCard(folder)).toEqual(card);
    writeFileSync(join(folder, 'reward_card.json'), '{"format": 2}');
    expect(() => readRewardCard(folder)).toThrow(/expected the card of a reward model/);
    rmSync(folder, { recursive: true });
  });
});
