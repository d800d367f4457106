/** Controllers of the weight of the KL term. */
import { CheckpointError, ConfigError } from '../../core/errors.ts';
import type { Control, Controller } from './controller.ts';

/** The same coefficient for ever. */
export function fixedKl(coefficient: number): Controller {
  requireCoefficient('fixedKl', coefficient);
  return { value: coefficient, update() {}, state: () => ({}), load() {} };
}

export interface AdaptiveKlOptions {
  /** Coefficient at the start. */
  readonly initial: number;
  /** KL to the reference to hold, nats per sequence. */
  readonly target: number;
  /** Episodes over which an error of 1 multiplies the coefficient by about e; 10 000 in the paper's code. */
  readonly horizon: number;
}

/**
 * Proportional control in the logarithm: e = clip(KL / target − 1, −0.2, 0.2), coefficient ← coefficient · (1 + e · n / horizon).
 *
 * @throws ConfigError when a target or horizon is not above 0, or the initial coefficient is negative
 * @source Ziegler et al. 2019, "Fine-Tuning Language Models from Human Preferences" (arXiv 1909.08593), section 2.2
 * @example initial 0.2, target 6, horizon 10 000; after 256 episodes at KL 12: 0.2 · (1 + 0.2 · 0.0256) = 0.201024
 */
export function adaptiveKl({ initial, target, horizon }: AdaptiveKlOptions): Controller {
  requireCoefficient('adaptiveKl', initial);
  for (const [name, value] of Object.entries({ target, horizon })) {
    if (value > 0) continue;
    throw new ConfigError({
      where: `adaptiveKl(${name})`,
      expected: 'a number above 0',
      received: String(value),
    });
  }
  let coefficient = initial;
  return {
    get value() {
      return coefficient;
    },
    update(kl, episodes) {
      const error = Math.min(Math.max(kl / target - 1, -0.2), 0.2);
      coefficient *= 1 + (error * episodes) / horizon;
    },
    state: () => ({ coefficient }),
    load(state) {
      const stored = state['coefficient'];
      if (stored === undefined) {
        throw new CheckpointError({
          where: 'adaptiveKl',
          expected: 'a stored coefficient',
          received: 'none',
          fix: 'Resume with the controller the run was started with',
        });
      }
      coefficient = stored;
    },
  };
}

/** A controller of the KL to the reference, which is measured per completion, in nats. */
export const klControl = (controller: Controller): Control => ({ watches: 'objective/kl', controller });

function requireCoefficient(where: string, coefficient: number): void {
  if (coefficient >= 0) return;
  throw new ConfigError({ where, expected: 'a coefficient of 0 or more', received: String(coefficient) });
}
