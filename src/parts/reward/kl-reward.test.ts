import { describe, expect, it } from 'vitest';
import { klReward, penalizeMissingEos } from './kl-reward.ts';

describe('klReward', () => {
  // Row 0: d = [0.5, −0.2], β 0.1: [−0.05, 0.02 + 2]. Row 1 has one token: its score lies there, not in the padding.
  it('puts the score at the last token and the KL at each', () => {
    const { rewards, mask, kl, nonScoreReward } = klReward(
      { scores: [2, -1], logProbs: [[-1, -2], [-3]], referenceLogProbs: [[-1.5, -1.8], [-2]] },
      { klCoefficient: 0.1 },
    );
    [-0.05, 2.02, -0.9, 0].forEach((number, i) => void expect(rewards.data[i]).toBeCloseTo(number, 12));
    expect([...mask.data]).toEqual([1, 1, 1, 0]);
    expect(kl).toBeCloseTo((0.3 - 1) / 2, 12);
    expect(nonScoreReward).toBeCloseTo((-0.03 + 0.1) / 2, 12);
  });
  it('is the score alone for equal policies', () => {
    const { rewards } = klReward(
      { scores: [3], logProbs: [[-1, -1]], referenceLogProbs: [[-1, -1]] },
      { klCoefficient: 9, estimator: 'k3' },
    );
    expect([...rewards.data].map(Math.abs)).toEqual([0, 3]);
  });
  it('refuses an empty completion and other counts', () => {
    expect(() =>
      klReward({ scores: [1], logProbs: [[]], referenceLogProbs: [[]] }, { klCoefficient: 1 }),
    ).toThrow(/completions of one token or more/);
    for (const [policy, reference] of [
      [1, 2],
      [2, 1],
    ] as const) {
      const lists = (count: number) => new Array(count).fill([-1]);
      expect(() =>
        klReward(
          { scores: [1], logProbs: lists(policy), referenceLogProbs: lists(reference) },
          { klCoefficient: 1 },
        ),
      ).toThrow(/1 completions of one token or more/);
    }
  });
});

it('penalizeMissingEos lowers the score of what was cut, and of nothing else', () => {
  expect(penalizeMissingEos([1, 2], [true, false], 0.5)).toEqual([1, 1.5]);
});
