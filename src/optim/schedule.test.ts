import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../core/errors.ts';
import { createSchedule, type ScheduleOptions, scheduleKinds } from './schedule.ts';

const rates = (options: Omit<ScheduleOptions, 'learningRate'>, steps: number): number[] =>
  Array.from({ length: steps }, (_, step) => createSchedule({ learningRate: 1, ...options })(step));

describe('createSchedule', () => {
  it('gives the rates derived from the formulas', () => {
    const some = { warmupSteps: 2, totalSteps: 6 };
    const half = Math.SQRT1_2;
    expect(rates({ kind: 'constant', ...some }, 3)).toEqual([1, 1, 1]);
    expect(rates({ kind: 'constant_with_warmup', ...some }, 4)).toEqual([0, 0.5, 1, 1]);
    expect(rates({ kind: 'linear', ...some }, 8)).toEqual([0, 0.5, 1, 0.75, 0.5, 0.25, 0, 0]);
    const cosine = [0, 0.5, 1, (1 + half) / 2, 0.5, (1 - half) / 2, 0, 0];
    for (const [step, rate] of rates({ kind: 'cosine', ...some }, 8).entries()) {
      expect(rate).toBeCloseTo(cosine[step]!, 12);
    }
    // √(2 / (step − 2 + 2)) after two steps of warm-up; √(10 000 / (step + 10 000)) without.
    for (const [step, rate] of rates({ kind: 'inverse_sqrt', ...some }, 9).entries()) {
      expect(rate).toBeCloseTo(step < 2 ? step / 2 : Math.sqrt(2 / step), 12);
    }
    const [, , , third] = rates({ kind: 'inverse_sqrt', warmupSteps: 0, totalSteps: 0 }, 4);
    expect(third).toBeCloseTo(Math.sqrt(10_000 / 10_003), 12);
  });

  it('falls to a share of the peak when asked', () => {
    const options = { warmupSteps: 0, totalSteps: 4, minRatio: 0.2 };
    const linear = [1, 0.8, 0.6, 0.4, 0.2, 0.2];
    for (const [step, rate] of rates({ kind: 'linear', ...options }, 6).entries()) {
      expect(rate).toBeCloseTo(linear[step]!, 12);
    }
    const cosine = rates({ kind: 'cosine', ...options }, 6);
    expect(cosine[0]).toBe(1);
    expect(cosine[2]).toBeCloseTo(0.6, 12);
    expect(cosine[4]).toBeCloseTo(0.2, 12);
    expect(cosine[5]).toBeCloseTo(0.2, 12);
  });

  it('scales with the learning rate, rises to its peak once and never rises after it', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...scheduleKinds),
        fc.nat(20),
        fc.integer({ min: 1, max: 30 }),
        fc.double({ min: 1e-6, max: 1, noNaN: true }),
        (kind, warmupSteps, more, learningRate) => {
          const totalSteps = warmupSteps + more;
          const rate = createSchedule({ kind, learningRate, warmupSteps, totalSteps });
          expect(rate(warmupSteps)).toBe(learningRate);
          for (let step = 0; step < totalSteps + 5; step++) {
            const change = rate(step + 1) - rate(step);
            if (step < warmupSteps) expect(change).toBeGreaterThanOrEqual(0);
            else expect(change).toBeLessThanOrEqual(0);
            expect(rate(step)).toBeGreaterThanOrEqual(0);
          }
        },
      ),
    );
  });

  it('refuses nonsense', () => {
    const options = { kind: 'linear', learningRate: 1, warmupSteps: 0, totalSteps: 4 } as const;
    expect(() => createSchedule({ ...options, warmupSteps: -1 })).toThrow(
      'createSchedule(warmupSteps): expected a whole number of 0 or more, received -1.',
    );
    expect(() => createSchedule({ ...options, totalSteps: 1.5 })).toThrow(ConfigError);
    expect(() => createSchedule({ ...options, learningRate: Number.NaN })).toThrow(ConfigError);
    expect(() => createSchedule({ ...options, minRatio: 2 })).toThrow(ConfigError);
  });
});
