/** Controllers that hold a metric of an online run at a target, and the part of the configuration that asks for them. */
import { CheckpointError, ConfigError } from '../../core/errors.ts';
import type { Control, Controller, Controls } from './controller.ts';
import { pid } from './pid.ts';

/**
 * Of the proportional term, in updates of the integral one. It damps: with the integral alone a policy that answers late to a
 * weight swings around the target.
 */
const damping = 5;

/**
 * Weight of the entropy bonus that holds the mean token entropy: with e the nats below the target, 5 rate e + rate Σ e, from the
 * initial weight, at least 0.
 *
 * @param target nats per token
 * @param rate change per nat and iteration
 * @source dual ascent on E[H] ≥ target: Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications"
 *   (arXiv 1812.05905), section 5, with a proportional term; for language models with a step per iteration: He et al. 2025, "Skywork Open Reasoner 1"
 *   (arXiv 2505.22312), section 4.2.2
 * @example target 1, rate 0.01, entropy 0.5 twice: 0.03, then 0.035
 */
export function entropyTarget({ target, rate, initial, max }: TargetOptions): Controller {
  requirePositive('entropyTarget', { target, rate });
  return pid({
    ...{ setpoint: target, proportional: damping * rate, integral: rate },
    ...{ raisedBy: 'below', min: 0, max, initial },
  });
}

/**
 * Cost of a completion of full length that holds the mean length: with e = mean / target − 1, 5 rate e + rate Σ e. Where it is
 * negative, length is rewarded.
 *
 * @param target tokens
 * @param rate units of score per relative error and iteration
 * @source as `entropyTarget`, on E[length] = target; the proportional term: Stooke et al. 2020 (arXiv 2007.03964)
 * @example target 20, rate 0.1, mean length 30: 0.3
 */
export function lengthTarget({ target, rate, initial, max }: TargetOptions): Controller {
  requirePositive('lengthTarget', { target, rate });
  return pid({
    ...{ setpoint: target, proportional: (damping * rate) / target, integral: rate / target },
    ...{ raisedBy: 'above', min: -max, max, initial },
  });
}

export interface TargetOptions {
  readonly target: number;
  readonly rate: number;
  readonly initial: number;
  /** Largest value. */
  readonly max: number;
}

export interface LearningRateByKlOptions {
  /** Mean KL to the policy at rollout that an iteration should move, nats per token. */
  readonly target: number;
  /** Bounds of the factor. */
  readonly min?: number;
  readonly max?: number;
}

/**
 * Factor on the learning rate: divided by 1.5 where an iteration moved the policy by more than twice the target, multiplied by
 * 1.5 where it moved less than half of it.
 *
 * @source Schulman et al. 2017 (arXiv 1707.06347), section 4 has the rule for the KL penalty (factor 2, the same band of 1.5);
 *   on the learning rate with factor 1.5 and a band of 2: leggedrobotics/rsl_rl `rsl_rl/algorithms/ppo.py`, `schedule: adaptive`
 * @example target 0.01, KL 0.03: 1/1.5
 */
export function learningRateByKl({ target, min = 0.01, max = 10 }: LearningRateByKlOptions): Controller {
  requirePositive('learningRateByKl', { target });
  let value = 1;
  return {
    get value() {
      return value;
    },
    update(kl) {
      if (kl > 2 * target) value = Math.max(value / 1.5, min);
      else if (kl < target / 2) value = Math.min(value * 1.5, max);
    },
    state: () => ({ value }),
    load({ value: stored }) {
      if (stored === undefined) {
        throw new CheckpointError({
          where: 'learningRateByKl',
          expected: 'a stored factor',
          received: 'none',
          fix: 'Resume with the controllers the run was started with',
        });
      }
      value = stored;
    },
  };
}

/** Fields of the configuration: `targetFields` of `trainer/online-config.ts`. */
export interface TargetSettings {
  readonly entropyTarget?: number | undefined;
  readonly entropyRate: number;
  readonly entropyCoefficient?: number;
  readonly lengthTarget?: number | undefined;
  readonly lengthRate: number;
  readonly learningRateKl?: number | undefined;
}

/** Largest weights: an entropy bonus or a length cost of this size decides a run alone. */
const largest = { entropy: 1, length: 10 };

/** The controllers that a configuration asks for. */
export function targetControls(settings: TargetSettings): Omit<Controls, 'kl'> {
  const { entropyCoefficient = 0, learningRateKl } = settings;
  const entropy: Control | undefined =
    settings.entropyTarget === undefined
      ? undefined
      : {
          watches: 'policy/entropy_avg',
          controller: entropyTarget({
            ...{ target: settings.entropyTarget, rate: settings.entropyRate },
            ...{ initial: entropyCoefficient, max: Math.max(largest.entropy, entropyCoefficient) },
          }),
        };
  const length: Control | undefined =
    settings.lengthTarget === undefined
      ? undefined
      : {
          watches: 'completions/mean_length',
          controller: lengthTarget({
            ...{ target: settings.lengthTarget, rate: settings.lengthRate, initial: 0, max: largest.length },
          }),
        };
  return {
    ...(entropy && { entropy }),
    ...(length && { length }),
    ...(learningRateKl !== undefined && {
      learningRate: {
        watches: 'policy/approxkl_avg',
        controller: learningRateByKl({ target: learningRateKl }),
      },
    }),
  };
}

function requirePositive(where: string, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (value > 0) continue;
    throw new ConfigError({
      where: `${where}(${name})`,
      expected: 'a number above 0',
      received: String(value),
    });
  }
}
