import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hostTensor } from '../../core/host-tensor.ts';
import type { AdvantageEstimator } from './advantage.ts';
import { groupRelative, leaveOneOut, scoresDiffer } from './group-relative.ts';

/** One token per completion, so that the reward of the completion is that of the token. */
const estimate = (estimator: AdvantageEstimator, rewards: readonly number[], groups: readonly number[]) => {
  const shape = [rewards.length, 1];
  return estimator({
    rewards: hostTensor(Float64Array.from(rewards), shape),
    values: hostTensor(new Float64Array(rewards.length), shape),
    mask: hostTensor(new Uint8Array(rewards.length).fill(1), shape),
    groups,
  });
};
const advantagesOf = (...args: Parameters<typeof estimate>): number[] =>
  Array.from(estimate(...args).advantages.data);
const close = (actual: readonly number[], expected: readonly number[]): void => {
  expect(actual).toHaveLength(expected.length);
  expected.forEach((number, i) => void expect(actual[i]).toBeCloseTo(number, 6));
};

describe('groupRelative', () => {
  const rewards = [0, 0, 1, 3];
  const one = [7, 7, 7, 7];
  // Mean 1, sample deviation √2.
  it('is the example derived by hand: scaled by the group, and not scaled', () => {
    close(advantagesOf(groupRelative({ scale: 'group' }), rewards, one), [-0.707057, -0.707057, 0, 1.414114]);
    close(advantagesOf(groupRelative({ scale: 'none' }), rewards, one), [-1, -1, 0, 2]);
  });

  it('scales by the batch where asked: groups keep their different weight', () => {
    // Groups [0, 2] and [0, 20]; the batch [0, 2, 0, 20] has mean 5.5 and sample variance 283/3.
    const deviation = Math.sqrt(283 / 3);
    const scaled = advantagesOf(groupRelative({ scale: 'batch', epsilon: 0 }), [0, 2, 0, 20], [1, 1, 2, 2]);
    close(
      scaled,
      [-1, 1, -10, 10].map((a) => a / deviation),
    );
  });

  it('spreads over the tokens that count, and sums token rewards', () => {
    const shape = [2, 3];
    const { advantages } = groupRelative({ scale: 'none' })({
      rewards: hostTensor(Float64Array.of(1, 2, 9, 1, 1, 1), shape),
      values: hostTensor(new Float64Array(6), shape),
      mask: hostTensor(Uint8Array.of(1, 1, 0, 1, 1, 1), shape),
      groups: [0, 0],
    });
    // Both completions have 3: the 9 is padding, so neither is above the other.
    expect(Array.from(advantages.data)).toEqual([0, 0, 0, 0, 0, 0]);
    const { advantages: other } = groupRelative({ scale: 'none' })({
      rewards: hostTensor(Float64Array.of(1, 2, 9, 1, 1, 3), shape),
      values: hostTensor(new Float64Array(6), shape),
      mask: hostTensor(Uint8Array.of(1, 1, 0, 1, 1, 1), shape),
      groups: [0, 0],
    });
    expect(Array.from(other.data)).toEqual([-1, -1, 0, 1, 1, 1]);
  });

  it('teaches nothing with a group of one or of equal rewards, and says so', () => {
    const { advantages, metrics } = estimate(
      groupRelative({ scale: 'group' }),
      [5, 2, 2, 1, 3],
      [0, 1, 1, 2, 2],
    );
    close(Array.from(advantages.data).slice(0, 3), [0, 0, 0]);
    expect(metrics!.frac_reward_zero_std).toBeCloseTo(2 / 3, 12);
    expect(metrics!.reward_std).toBeCloseTo(Math.SQRT2 / 3, 12);
  });

  it('a batch of one completion teaches nothing, however it is scaled', () => {
    for (const scale of ['group', 'batch', 'none'] as const)
      expect(advantagesOf(groupRelative({ scale }), [3], [0])).toEqual([0]);
    expect([[1, 1], [1, 2], [4], []].map(scoresDiffer)).toEqual([false, true, false, false]);
  });

  it('sums to 0 in every group, and does not see a shift, nor with `group` a scale of the rewards', () => {
    const groups = [0, 0, 0, 1, 1, 1, 1];
    const reward = fc.double({ min: -5, max: 5, noNaN: true });
    fc.assert(
      fc.property(fc.array(reward, { minLength: 7, maxLength: 7 }), reward, (list, shift) => {
        for (const estimator of [groupRelative({ scale: 'none' }), leaveOneOut()]) {
          const plain = advantagesOf(estimator, list, groups);
          expect(plain.slice(0, 3).reduce((a, b) => a + b, 0)).toBeCloseTo(0, 9);
          expect(plain.slice(3).reduce((a, b) => a + b, 0)).toBeCloseTo(0, 9);
          const shifted = advantagesOf(
            estimator,
            list.map((value) => value + shift),
            groups,
          );
          plain.forEach((value, i) => void expect(shifted[i]).toBeCloseTo(value, 8));
        }
      }),
    );
    const scaled = groupRelative({ scale: 'group', epsilon: 0 });
    close(advantagesOf(scaled, [10, 20, 40], [0, 0, 0]), advantagesOf(scaled, [1, 2, 4], [0, 0, 0]));
  });

  it('refuses groups that do not fit', () => {
    expect(() => estimate(groupRelative({ scale: 'group' }), [1, 2], [0])).toThrow(
      /groupRelative\(groups\): expected 2 numbers, one per completion, received 1/,
    );
  });
});

describe('leaveOneOut', () => {
  it('is the reward less the mean of the others', () => {
    close(advantagesOf(leaveOneOut(), [0, 0, 1, 3], [0, 0, 0, 0]), [-4 / 3, -4 / 3, 0, 8 / 3]);
    close(advantagesOf(leaveOneOut(), [4], [0]), [0]);
  });
});
