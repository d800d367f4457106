import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type HostTensor, hostTensor } from '../../core/host-tensor.ts';
import { gae } from './gae.ts';

const row = (...numbers: number[]): HostTensor<Float64Array> =>
  hostTensor(Float64Array.from(numbers), [1, numbers.length]);
const maskOf = (...bits: number[]): HostTensor<Uint8Array> =>
  hostTensor(Uint8Array.from(bits), [1, bits.length]);
const rewards = row(-0.01, 0.02, -0.03, 1);
const values = row(0.2, 0.1, 0.4, 0.5);
const mask = maskOf(1, 1, 1, 1);
const close = (actual: ArrayLike<number>, expected: readonly number[], digits = 6): void => {
  expect(actual.length).toBe(expected.length);
  expected.forEach((number, i) => void expect(actual[i]).toBeCloseTo(number, digits));
};

describe('gae', () => {
  // A_3 = 1 − 0.5 = 0.5; A_2 = −0.03 + 0.5 − 0.4 + 0.95·0.5 = 0.545; A_1 = 0.02 + 0.4 − 0.1 + 0.95·0.545 = 0.83775;
  // A_0 = −0.01 + 0.1 − 0.2 + 0.95·0.83775 = 0.6858625.
  it('is the example derived by hand', () => {
    const { advantages, returns } = gae({ gamma: 1, gaeLambda: 0.95 })({ rewards, values, mask });
    close(advantages.data, [0.6858625, 0.83775, 0.545, 0.5], 12);
    close(returns.data, [0.8858625, 0.93775, 0.945, 1], 12);
  });

  it('with λ 1 is the return minus the value, with λ 0 the one-step error', () => {
    const monteCarlo = gae({ gamma: 1, gaeLambda: 1 })({ rewards, values, mask });
    close(monteCarlo.returns.data, [0.98, 0.99, 0.97, 1], 12);
    const oneStep = gae({ gamma: 0.5, gaeLambda: 0 })({ rewards, values, mask });
    close(oneStep.advantages.data, [-0.16, 0.12, -0.18, 0.5], 12);
  });

  it('steps over masked tokens: the result is that of the row without them', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            reward: fc.double({ min: -2, max: 2, noNaN: true }),
            value: fc.double({ min: -2, max: 2, noNaN: true }),
            counts: fc.boolean(),
          }),
          { minLength: 1, maxLength: 12 },
        ),
        (tokens) => {
          const kept = tokens.filter(({ counts }) => counts);
          if (kept.length === 0) return;
          const estimate = (list: typeof tokens) =>
            gae({ gamma: 0.9, gaeLambda: 0.8 })({
              rewards: row(...list.map(({ reward }) => reward)),
              values: row(...list.map(({ value }) => value)),
              mask: maskOf(...list.map(({ counts }) => Number(counts))),
            });
          const whole = estimate(tokens);
          const alone = [...estimate(kept).advantages.data];
          tokens.forEach(({ counts }, i) => {
            expect(whole.advantages.data[i]).toBe(counts ? alone.shift() : 0);
            if (!counts) expect(whole.returns.data[i]).toBe(0);
          });
        },
      ),
    );
  });

  it('refuses a γ or λ outside [0, 1] and shapes that differ', () => {
    expect(() => gae({ gamma: 1.1, gaeLambda: 1 })).toThrow(/gae\(gamma\): expected a number in \[0, 1\]/);
    expect(() =>
      gae({ gamma: 1, gaeLambda: 1 })({ rewards, values, mask: hostTensor(new Uint8Array(3), [1, 3]) }),
    ).toThrow(/gae\(mask\)/);
  });
});
