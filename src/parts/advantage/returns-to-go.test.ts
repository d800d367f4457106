import { describe, expect, it } from 'vitest';
import { hostTensor } from '../../core/host-tensor.ts';
import { createRng } from '../../core/rng.ts';
import type { AdvantageInput } from './advantage.ts';
import { gae } from './gae.ts';
import { groupRelative } from './group-relative.ts';
import { likeliestBaseline, returnsToGo } from './returns-to-go.ts';
import { whiten } from './whiten.ts';

const batch = (
  rewards: readonly (readonly number[])[],
  mask: readonly (readonly number[])[],
): AdvantageInput => {
  const shape = [rewards.length, rewards[0]!.length];
  return {
    rewards: hostTensor(Float64Array.from(rewards.flat()), shape),
    values: hostTensor(new Float64Array(rewards.flat().length), shape),
    mask: hostTensor(Uint8Array.from(mask.flat()), shape),
    groups: rewards.map((_, index) => index >> 1),
  };
};
const close = (actual: ArrayLike<number>, expected: readonly number[], digits = 6): void =>
  Array.from(actual).forEach((value, index) => void expect(value).toBeCloseTo(expected[index]!, digits));

describe('returnsToGo', () => {
  const input = batch(
    [
      [0, 0, 1],
      [0, -0.5, 7],
    ],
    [
      [1, 1, 1],
      [1, 1, 0],
    ],
  );

  it('sums what is earned from each token on; whitened it is REINFORCE++', () => {
    const { advantages } = returnsToGo({ gamma: 1 })(input);
    close(advantages.data, [1, 1, 1, -0.5, -0.5, 0]);
    // Mean 0.4, population variance 0.54: 0.6/0.734847 and −0.9/0.734847. verl's sample variance gives 0.730297, −1.095445.
    const third = 0.816497;
    close(whiten(advantages, input.mask).data, [third, third, third, -1.224745, -1.224745, 0]);
    const sample = whiten(advantages, input.mask, { variance: 'sample' });
    close(sample.data, [0.730297, 0.730297, 0.730297, -1.095445, -1.095445, 0]);
  });

  it('discounts, and steps over tokens that do not count without a discount for them', () => {
    const gap = batch([[1, 5, 2]], [[1, 0, 1]]);
    close(returnsToGo({ gamma: 0.5 })(gap).advantages.data, [2, 0, 2]);
    expect(() => returnsToGo({ gamma: 1.1 })).toThrow(/returnsToGo\(gamma\)/);
  });

  it('is GAE with λ = 1 and values of 0', () => {
    const rng = createRng(3);
    const rows = [0, 1, 2].map((row) => [0, 1, 2, 3].map((t) => rng.normal(row, t)));
    const random = batch(rows, [
      [1, 1, 1, 1],
      [1, 0, 1, 0],
      [1, 1, 0, 0],
    ]);
    close(
      returnsToGo({ gamma: 0.9 })(random).advantages.data,
      Array.from(gae({ gamma: 0.9, gaeLambda: 1 })(random).advantages.data),
      12,
    );
  });
});

it('REINFORCE++-baseline is the whitened difference to the mean of the group', () => {
  const input = batch(
    [
      [0, 2],
      [4, 0],
      [1, 0],
      [5, 0],
    ],
    [
      [1, 1],
      [1, 0],
      [1, 0],
      [1, 0],
    ],
  );
  const { advantages } = groupRelative({ scale: 'none' })(input);
  // Differences −1 (two tokens), 1, −2, 2; mean over five tokens −0.2, variance 11/5 − 0.04 = 2.16.
  const deviation = Math.sqrt(2.16);
  close(
    whiten(advantages, input.mask).data,
    [-0.8, -0.8, 1.2, 0, -1.8, 0, 2.2, 0].map((x) => x / deviation),
  );
});

describe('likeliestBaseline', () => {
  const input = batch(
    [
      [-0.1, 0, 1],
      [2, 9, 9],
    ],
    [
      [1, 1, 1],
      [1, 0, 0],
    ],
  );

  it('takes the baseline off the return of each token', () => {
    const { advantages } = likeliestBaseline()({ ...input, baselines: [0.4, 3] });
    close(advantages.data, [0.5, 0.6, 0.6, -1, 0, 0]);
  });

  it('refuses a batch without a score of the likeliest completion each', () => {
    expect(() => likeliestBaseline()(input)).toThrow(
      /likeliestBaseline\(baselines\): expected 2 numbers.*received none/,
    );
  });

  it('does not change with a shift of all scores', () => {
    const shifted = { ...input, rewards: hostTensor(Float64Array.of(-0.1, 0, 11, 12, 9, 9), [2, 3]) };
    close(
      likeliestBaseline()({ ...shifted, baselines: [10.4, 13] }).advantages.data,
      [0.5, 0.6, 0.6, -1, 0, 0],
      12,
    );
  });
});
