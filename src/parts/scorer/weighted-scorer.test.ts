import { describe, expect, it } from 'vitest';
import { rewardWeight, weightAt } from './reward-weight.ts';
import { type ScoreItem, scoreAll } from './scorer.ts';
import { type PartScore, type Reward, rewardMetrics, weightedScorer } from './weighted-scorer.ts';

const items = Array.from(
  { length: 4 },
  (): ScoreItem => ({ prompt: '', completion: '', promptIds: [1], completionIds: [2] }),
);
const fixed = (name: string, scores: readonly PartScore[]): Reward => ({
  name,
  score: async () => scores,
  dispose() {},
});

describe('weightedScorer', () => {
  // 1·[1, 2] + 0.5·[4, −2] = [3, 1]; what one reward cannot score is unscored; what it does not concern leaves the other.
  it('adds weighted scores; unscored stays unscored, null leaves a reward out', async () => {
    const scorer = weightedScorer([
      { reward: fixed('a', [1, 2, 3, null]), weight: rewardWeight(1) },
      { reward: fixed('b', [4, -2, undefined, null]), weight: rewardWeight(0.5) },
    ]);
    const parts: unknown[] = [];
    const scores = await scoreAll(scorer, items, { onPart: (...part) => void parts.push(part) });
    expect(scores).toEqual([3, 1, undefined, undefined]);
    expect(parts).toEqual([
      ['a', [1, 2, 3, null]],
      ['b', [4, -2, undefined, null]],
    ]);
    const alone = weightedScorer([
      { reward: fixed('a', [5, 5, 5, 5]), weight: rewardWeight(1) },
      { reward: fixed('b', [null, 1, null, 1]), weight: rewardWeight(2) },
    ]);
    expect(await scoreAll(alone, items)).toEqual([5, 7, 5, 7]);
  });

  it('moves a weight with the iteration', async () => {
    const scorer = weightedScorer([
      { reward: fixed('a', [1, 1, 1, 1]), weight: rewardWeight('1..0@4') },
      { reward: fixed('b', [10, 10, 10, 10]), weight: rewardWeight(1) },
    ]);
    const at = async (iteration: number) => (await scorer.score(items, { iteration }))[0];
    expect(await Promise.all([0, 1, 4, 9].map(at))).toEqual([11, 10.75, 10, 10]);
    expect((await scorer.score(items))[0]).toBe(11);
  });

  it('refuses two rewards of one name', () => {
    const twice = ['a', 'a'].map((name) => ({ reward: fixed(name, []), weight: rewardWeight(1) }));
    expect(() => weightedScorer(twice)).toThrow(/"a" twice/);
  });
});

describe('rewardWeight', () => {
  it('reads numbers and changes over iterations, and nothing else', () => {
    expect(rewardWeight(-0.5)).toEqual({ from: -0.5, to: -0.5, over: 0 });
    expect(rewardWeight('1e-1..2@50')).toEqual({ from: 0.1, to: 2, over: 50 });
    expect(weightAt(rewardWeight('0..1@10'), 5)).toBe(0.5);
    for (const wrong of ['', 'x', '1..2', '1..2@0', '1@5', Number.NaN])
      expect(() => rewardWeight(wrong)).toThrow(/from..to@iterations/);
  });
});

// Scores 1, 3 and one unscored: mean 2, deviation of the sample √2.
it('rewardMetrics are over what was scored', () => {
  expect(rewardMetrics('a', [1, undefined, 3, null])).toEqual({
    'rewards/a/mean': 2,
    'rewards/a/std': Math.SQRT2,
  });
  expect(rewardMetrics('a', [7])).toEqual({ 'rewards/a/mean': 7 });
  expect(rewardMetrics('a', [null])).toEqual({});
});
