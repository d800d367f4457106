/** The part of the configuration that watchdogs read. */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import type { WatchSettings } from './watchdog.ts';

/** Of every trainer. */
export const watchFields = section('Watchdogs', {
  watchAction: field(z.enum(['stop', 'roll-back', 'warn']).default('stop')).describe(
    'when a rule is broken, or a number is not finite: stop; go back to the last checkpoint with a lower learning rate; or only warn. All save a batch for heed replay',
  ),
  watchWindow: field(z.int().min(2).default(10)).describe('records that rules with a history look back on'),
  watchGradNorm: field(z.number().gt(1).optional(), { placeholder: 'factor' }).describe(
    'alarm when the gradient norm is so many times the median of the last watchWindow updates; default: off',
  ),
  watchEntropy: field(z.number().positive().optional()).describe(
    'alarm when the mean token entropy is below so many nats; default: off',
  ),
  rollbackLimit: field(z.int().min(1).default(3)).describe('roll-backs after which the run stops'),
  rollbackLearningRate: field(z.number().positive().max(1).default(0.5)).describe(
    'multiplies the learning rate at each roll-back',
  ),
});

/** Of methods that sample, besides. */
export const onlineWatchFields = section('Watchdogs', {
  watchKl: field(z.number().positive().optional()).describe(
    'alarm when the KL to the reference is above so many nats per completion; default: off',
  ),
  watchLength: field(z.number().gt(1).optional(), { placeholder: 'factor' }).describe(
    'alarm when the mean length is so many times that of the first watchWindow iterations, or one in so many; default: off',
  ),
  watchReward: field(z.number().positive().optional()).describe(
    'alarm when the mean score falls so far below the best mean of watchWindow iterations in succession, in units of score; default: off',
  ),
});

export type WatchConfig = z.output<z.ZodObject<typeof watchFields>> &
  Partial<z.output<z.ZodObject<typeof onlineWatchFields>>>;

export function watchSettings(config: WatchConfig): WatchSettings {
  return {
    action: config.watchAction,
    window: config.watchWindow,
    kl: config.watchKl,
    entropy: config.watchEntropy,
    length: config.watchLength,
    reward: config.watchReward,
    gradNorm: config.watchGradNorm,
    rollbackLimit: config.rollbackLimit,
    rollbackLearningRate: config.rollbackLearningRate,
  };
}
