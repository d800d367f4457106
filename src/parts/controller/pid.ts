/** Proportional–integral–derivative control. */
import { CheckpointError, ConfigError } from '../../core/errors.ts';
import type { Controller } from './controller.ts';

export interface PidOptions {
  /** What the measured number should be. */
  readonly setpoint: number;
  /** Change of the value per unit of error, of error summed over updates, and of change of the error per update. */
  readonly proportional?: number;
  readonly integral?: number;
  readonly derivative?: number;
  /** Which error raises the value: measured − setpoint (`above`, as for a penalty) or setpoint − measured (`below`). */
  readonly raisedBy: 'above' | 'below';
  /** Bounds of the value. */
  readonly min: number;
  readonly max: number;
  /** Value at an error of 0 before anything was summed; default `min`, at least. */
  readonly initial?: number;
  /** Only a growing error counts for the derivative, as Stooke et al. have it; default both. */
  readonly positiveDerivative?: boolean;
}

/**
 * With e the error: value = clip(initial + K_P e + K_I Σ e + K_D Δe, min, max).
 *
 * Anti-windup: while the value is at a bound, errors that push it further out are not summed. The value leaves the bound at the
 * first update whose error points back, however long it was held there.
 *
 * @throws ConfigError when min is not below max, or initial is not between
 * @source Åström & Hägglund 2006, "Advanced PID Control", sections 3.5 (conditional integration); for multipliers of constraints:
 *   Stooke, Achiam & Abbeel 2020 (arXiv 2007.03964), algorithm 2
 * @example setpoint 1, K_P 0.5, K_I 0.1, raisedBy above, from 0; measured 3: e = 2, value 0.5·2 + 0.1·2 = 1.2; measured 2: e = 1,
 *   Σ e = 3, value 0.5 + 0.3 = 0.8
 */
export function pid(options: PidOptions): Controller {
  const { setpoint, proportional = 0, integral = 0, derivative = 0, raisedBy, min, max } = options;
  const { initial = min, positiveDerivative = false } = options;
  if (!(min < max) || !(initial >= min && initial <= max)) {
    throw new ConfigError({
      where: 'pid',
      expected: 'min below max, and initial between them',
      received: `min ${min}, max ${max}, initial ${initial}`,
    });
  }
  let value = initial;
  let total = 0;
  let last: number | undefined;
  return {
    get value() {
      return value;
    },
    update(measured) {
      const error = raisedBy === 'above' ? measured - setpoint : setpoint - measured;
      const change = last === undefined ? 0 : error - last;
      const at = (sum: number): number =>
        initial +
        proportional * error +
        integral * sum +
        derivative * (positiveDerivative ? Math.max(change, 0) : change);
      const wanted = at(total + error);
      const winds = (wanted > max && error > 0) || (wanted < min && error < 0);
      if (!winds) total += error;
      value = Math.min(Math.max(at(total), min), max);
      last = error;
    },
    state: () => ({ value, total, ...(last !== undefined && { last }) }),
    load(state) {
      if (state.value === undefined || state.total === undefined) {
        throw new CheckpointError({
          where: 'pid',
          expected: 'a stored value and sum of errors',
          received: 'none',
          fix: 'Resume with the controllers the run was started with',
        });
      }
      ({ value, total, last } = state as { value: number; total: number; last?: number });
    },
  };
}
