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
 * Learning rate of optimizer step `step` (0-based).
 *
 * With w warm-up steps, n steps and progress p = (step − w)/(n − w): linear 1 − p; cosine (1 + cos πp)/2;
 * inverse_sqrt √(s/(step − w + s)) with s = w, or 10 000 without warm-up. All rise as step/w during warm-up, except
 * `constant`.
 *
 * @throws ConfigError on a negative count
 */
export function createSchedule(options: ScheduleOptions): (step: number) => number {
  const { kind, learningRate, warmupSteps, totalSteps, minRatio = 0 } = options;
  if (warmupSteps < 0 || totalSteps < 0) {
    throw new ConfigError({
      where: 'createSchedule',
      expected: 'warmupSteps and totalSteps of 0 or more',
      received: `${warmupSteps} and ${totalSteps}`,
    });
  }
  const floor = (share: number): number => minRatio + (1 - minRatio) * share;
  const after = (step: number): number => {
    const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
    switch (kind) {
      case 'constant':
      case 'constant_with_warmup':
        return 1;
      case 'linear':
        return floor(Math.max(0, 1 - progress));
      case 'cosine':
        return floor(Math.max(0, 0.5 * (1 + Math.cos(Math.PI * Math.min(1, progress)))));
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
