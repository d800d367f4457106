/** Learning rates by step, equal to those of transformers' `get_scheduler`. */
import { ConfigError } from '../core/errors.ts';

export const scheduleKinds = [
  'constant',
  'constant_with_warmup',
  'linear',
  'cosine',
  'inverse_sqrt',
] as const;
export type ScheduleKind = (typeof scheduleKinds)[number];

export interface ScheduleOptions {
  readonly kind: ScheduleKind;
  /** Peak learning rate. */
  readonly learningRate: number;
  /** Steps over which the rate rises from 0 to its peak. */
  readonly warmupSteps: number;
  readonly totalSteps: number;
  /** The rate that `cosine` and `linear` end at, as a share of the peak; 0 when left out. */
  readonly minRatio?: number;
}

/**
 * Learning rate of optimizer step `step` (0-based), equal to transformers' at each step up to `totalSteps`; later steps
 * keep the last rate (transformers' cosine would rise again).
 *
 * With peak η, w warm-up steps, n steps, least share r and s = w (10 000 without warm-up), after warm-up:
 *
 * | kind | rate |
 * |---|---|
 * | `constant`, `constant_with_warmup` | η |
 * | `linear` | η·(r + (1 − r)·(n − step)/(n − w)) |
 * | `cosine` | η·(r + (1 − r)·(1 + cos(π·(step − w)/(n − w)))/2) |
 * | `inverse_sqrt` | η·√(s/(step − w + s)) |
 *
 * During warm-up the rate is η·step/w: the first step has rate 0. `constant` has no warm-up.
 *
 * @throws ConfigError on a negative or fractional count, a negative or infinite rate, or a share outside [0, 1]
 * @source transformers `optimization.py` (`get_linear_schedule_with_warmup` and its neighbours); Loshchilov & Hutter
 *   2017, arXiv:1608.03983, equation 5, with one half period (cosine); Vaswani et al. 2017, equation 3 (inverse root)
 * @example createSchedule({ kind: 'linear', learningRate: 1, warmupSteps: 2, totalSteps: 6 }); // 0, ½, 1, ¾, ½, ¼, 0
 */
export function createSchedule(options: ScheduleOptions): (step: number) => number {
  const { kind, learningRate, warmupSteps, totalSteps, minRatio = 0 } = options;
  check('warmupSteps', warmupSteps, 'a whole number of 0 or more', isCount(warmupSteps));
  check('totalSteps', totalSteps, 'a whole number of 0 or more', isCount(totalSteps));
  check('learningRate', learningRate, 'a number of 0 or more', learningRate >= 0 && learningRate < Infinity);
  check('minRatio', minRatio, 'a share in [0, 1]', minRatio >= 0 && minRatio <= 1);
  const floor = (share: number): number => minRatio + (1 - minRatio) * share;
  const decaySteps = Math.max(1, totalSteps - warmupSteps);
  const after = (step: number): number => {
    switch (kind) {
      case 'constant':
      case 'constant_with_warmup':
        return 1;
      case 'linear':
        return floor(Math.max(0, (totalSteps - step) / decaySteps));
      case 'cosine':
        return floor(0.5 * (1 + Math.cos(Math.PI * Math.min(1, (step - warmupSteps) / decaySteps))));
      case 'inverse_sqrt': {
        const scale = warmupSteps === 0 ? 10_000 : warmupSteps;
        return 1 / Math.sqrt((step - warmupSteps + scale) / scale);
      }
    }
  };
  return (step) => {
    const rising = kind !== 'constant' && step < warmupSteps;
    return learningRate * (rising ? step / Math.max(1, warmupSteps) : after(step));
  };
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function check(option: string, received: number, expected: string, holds: boolean): void {
  if (holds) return;
  throw new ConfigError({
    where: `createSchedule(${option})`,
    expected,
    received: String(received),
    fix: 'Change this option of the schedule',
  });
}
