import { describe, expect, it } from 'vitest';
import { hostTensor } from '../../core/host-tensor.ts';
import { whiten } from './whiten.ts';

const x = hostTensor(Float64Array.of(0.6858625, 0.83775, 0.545, 0.5, 99), [1, 5]);
const mask = hostTensor(Uint8Array.of(1, 1, 1, 1, 0), [1, 5]);
const close = (actual: ArrayLike<number>, expected: readonly number[]): void =>
  expected.forEach((number, i) => void expect(actual[i]).toBeCloseTo(number, 5));

describe('whiten', () => {
  it('is the recorded example for both variances, and 0 where the mask is', () => {
    close(whiten(x, mask).data, [0.330849, 1.480532, -0.735381, -1.076, 0]);
    close(whiten(x, mask, { variance: 'sample' }).data, [0.286524, 1.282179, -0.636859, -0.931844, 0]);
  });

  // Mean 0.64215; population deviation 0.13211: (0.5 − 0.64215)/0.13211 + 0.64215 = −0.43385.
  it('keeps the mean when not centered', () => {
    close(whiten(x, mask, { centered: false }).data, [0.973002, 2.122685, -0.093228, -0.433847, 0]);
  });

  it('gives 0 for equal numbers, one number and none', () => {
    const equal = hostTensor(Float64Array.of(3, 3), [1, 2]);
    expect([...whiten(equal, hostTensor(Uint8Array.of(1, 1), [1, 2])).data]).toEqual([0, 0]);
    const sample = { variance: 'sample' } as const;
    expect([...whiten(equal, hostTensor(Uint8Array.of(1, 0), [1, 2]), sample).data]).toEqual([0, 0]);
    expect([...whiten(equal, hostTensor(Uint8Array.of(0, 0), [1, 2]), sample).data]).toEqual([0, 0]);
  });
});
