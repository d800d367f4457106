/** An update under watch: a watchdog looks at it before it is applied, and what it stops can be taken again. */
import { createHash } from 'node:crypto';
import type { Parameters } from '../../nn/parameters.ts';
import type { OptimizerState } from '../../optim/optimizer.ts';
import type { LearnerOptions, LearnerSettings, Update } from './learner.ts';
import { type Alarm, type Watchdog, WatchdogError } from './watchdog.ts';

/** Everything an update depends on, and what came of it. */
export interface UpdateCapture {
  readonly learner: 'policy' | 'critic';
  /** Which update of the run, in words. */
  readonly where: string;
  readonly alarm: Alarm;
  readonly batch: readonly unknown[];
  readonly learningRate: number;
  readonly settings: LearnerSettings;
  /** Copies from before the update. */
  readonly weights: Float32Array;
  readonly optimizer: OptimizerState;
  readonly update: Update;
  /** SHA-256 of the gradient, and of the weights after the update; none where it could not be applied. */
  readonly gradientDigest: string;
  readonly weightsDigest?: string;
}

export interface Watch {
  readonly watchdog: Watchdog;
  /** Keeps an update that raised an alarm; returns the name of the file. Nothing is kept when left out. */
  capture?(capture: UpdateCapture): string;
  /** Tells of an alarm that does not stop the run. */
  note(message: string): void;
}

interface WatchedUpdate<E> {
  readonly update: Update;
  readonly batch: readonly E[];
  readonly learningRate: number;
  readonly where: string;
  readonly gradients: Parameters;
  /** Checks the numbers and moves the weights. */
  apply(): void;
}

/**
 * Applies an update unless a watchdog stops it.
 *
 * @throws WatchdogError with weights and optimizer as before, where the watchdog stops or rolls back; what `apply` throws
 */
export function watchUpdate<E>(
  { parameters, optimizer, settings, step, name: learner = 'policy' }: LearnerOptions<E>,
  { watchdog, capture, note }: Watch,
  { update, batch, learningRate, where, gradients, apply }: WatchedUpdate<E>,
): void {
  const { loss, norm } = update;
  const alarm = watchdog.update(
    learner === 'critic'
      ? { loss, 'critic/grad_norm': norm }
      : { ...step.summarize(update.totals), loss, grad_norm: norm },
  );
  if (alarm === undefined) {
    apply();
    return;
  }
  const weights = parameters.flat.slice();
  const { steps, moments } = optimizer.state();
  const before: OptimizerState = {
    steps,
    moments: Object.fromEntries(Object.entries(moments).map(([key, vector]) => [key, vector.slice()])),
  };
  const gradientDigest = digest(gradients.flat);
  let failure: unknown;
  try {
    apply();
  } catch (error) {
    failure = error;
  }
  const file = capture?.({
    ...{ learner, where, alarm, batch, learningRate, settings, weights, optimizer: before, update },
    ...{ gradientDigest, ...(failure === undefined && { weightsDigest: digest(parameters.flat) }) },
  });
  const kept = file === undefined ? '' : `heed replay ${file} takes the update again`;
  if (watchdog.action === 'warn' && failure === undefined) {
    note(`${where}: ${alarm.text}${kept === '' ? '' : `; ${kept}`}`);
    return;
  }
  parameters.flat.set(weights);
  optimizer.load(before);
  if (watchdog.action !== 'roll-back' && failure !== undefined) {
    if (kept !== '') note(kept);
    throw failure;
  }
  const again = watchdog.action === 'roll-back' ? '' : 'Look at the data and the metrics before it. ';
  throw new WatchdogError(where, alarm, again + kept);
}

export function digest(vector: Float32Array): string {
  // Of shared memory a hash takes no view.
  return createHash('sha256').update(Buffer.from(vector.slice().buffer)).digest('hex');
}
