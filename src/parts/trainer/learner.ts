/** One optimizer step: micro-batches, gradients, clipping, the update. What every trainer shares. */
import { DataError, NumericError } from '../../core/errors.ts';
import type { Engine } from '../../engine/engine.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import type { Parameters } from '../../nn/parameters.ts';
import { clipScale, firstNonFinite, globalNorm } from '../../optim/clip.ts';
import type { Optimizer } from '../../optim/optimizer.ts';
import { microBatches } from '../batches.ts';
import { type Coupler, createCoupler } from '../step/coupling.ts';
import type { TrainStep } from '../step/train-step.ts';
import { type UpdateCapture, type Watch, watchUpdate } from './learner-watch.ts';
import { addTotals, createStepRunner, type StepRunner, type Totals } from './programs.ts';

export interface LearnerSettings {
  /** Examples per forward pass; gradients accumulate over the micro-batches of a batch. */
  readonly microBatchSize: number;
  /** Columns are padded to a multiple of this. */
  readonly bucket: number;
  /** Largest global L2 norm of the gradient; larger ones are scaled down to it. 0 switches clipping off. */
  readonly maxGradNorm: number;
  /** Compute layers again for the gradient instead of keeping their insides. */
  readonly gradientCheckpointing: boolean;
}

export interface LearnerOptions<E> {
  readonly engine: Engine;
  readonly model: CausalModel;
  readonly parameters: Parameters;
  readonly step: TrainStep<E>;
  readonly optimizer: Optimizer;
  readonly settings: LearnerSettings;
  /** What this learner is in reproducers; default `policy`. */
  readonly name?: UpdateCapture['learner'];
  /** Looks at every update before it is applied; none when left out. */
  readonly watch?: Watch;
}

/** Figures of one optimizer step. */
export interface Update {
  /** Sums over the batch. */
  readonly totals: Totals;
  /** What the loss was divided by. */
  readonly weight: number;
  readonly loss: number;
  /** L2 norm of the gradient before clipping. */
  readonly norm: number;
  /** Tokens read, of the examples as they were learned from. */
  readonly tokens: number;
}

/** A model that learns: its weights change with every update. */
export interface Learner<E> {
  readonly runner: StepRunner<E>;
  readonly coupler: Coupler<E>;
  /**
   * Moves the weights against the gradient of (Σ losses) / (Σ weights) over the batch.
   *
   * @param where names the step in errors
   * @throws NumericError naming the first parameter whose gradient is not finite, or the alarm of a watchdog; weights are then
   *   those before the step
   * @throws DataError when there is nothing to learn
   */
  update(batch: readonly E[], learningRate: number, where: string): Promise<Update>;
  dispose(): void;
}

/** Programs kept at once: a bucket or two per length class for training and evaluation. */
const programLimit = 12;

export function createLearner<E>(options: LearnerOptions<E>): Learner<E> {
  const { parameters, step, optimizer, settings } = options;
  const runner = createStepRunner(options.engine, options.model, parameters, step, {
    rematerialize: settings.gradientCheckpointing,
    programLimit,
  });
  const coupler = createCoupler(step.coupling, {
    ...options,
    batchSize: settings.microBatchSize,
    bucket: settings.bucket,
  });
  const sampling = step.sampling?.open(options);
  const gradients = parameters.like();
  return {
    runner,
    coupler,
    async update(examples, learningRate, where) {
      const sampled = (await sampling?.sample(examples, optimizer.state().steps)) ?? examples;
      const batch = await coupler.complete(sampled, true);
      const { totals, weight } = await accumulate(runner, options, batch, gradients);
      const loss = (totals.loss ?? 0) / weight;
      const norm = globalNorm(gradients.flat);
      const tokens = batch.reduce((total, example) => total + step.tokens(example), 0);
      const update = { totals, weight, loss, norm, tokens };
      const apply = (): void => {
        requireFinite(where, loss, norm, gradients, parameters);
        optimizer.step({
          weights: parameters.flat,
          gradients: gradients.flat,
          learningRate,
          gradientScale: settings.maxGradNorm > 0 ? clipScale(norm, settings.maxGradNorm) : 1,
        });
      };
      if (options.watch === undefined) apply();
      else watchUpdate(options, options.watch, { update, batch, learningRate, where, gradients, apply });
      return update;
    },
    dispose() {
      runner.dispose();
      coupler.dispose();
      sampling?.dispose();
    },
  };
}

/** Gradient of the batch's mean loss into `gradients`; returns the sums. */
async function accumulate<E>(
  runner: StepRunner<E>,
  { step, optimizer, settings }: Pick<LearnerOptions<E>, 'step' | 'optimizer' | 'settings'>,
  batch: readonly E[],
  gradients: Parameters,
): Promise<{ totals: Totals; weight: number }> {
  const weight = batch.reduce((total, example) => total + step.weight(example), 0);
  if (weight === 0) {
    throw new DataError({
      where: 'train',
      expected: 'a batch with at least one token to learn',
      received: 'none',
      fix: 'Look at the masks with `heed inspect`',
    });
  }
  const totals: Totals = {};
  const parts = microBatches(
    batch,
    (example) => step.columns(example),
    settings.microBatchSize,
    settings.bucket,
  );
  const { steps } = optimizer.state();
  for (const [microBatch, part] of parts.entries()) {
    const at = { step: steps, microBatch };
    addTotals(totals, await runner.accumulate(part, 1 / weight, gradients, at), step.combine);
  }
  return { totals, weight };
}

function requireFinite(
  where: string,
  loss: number,
  norm: number,
  gradients: Parameters,
  weights: Parameters,
): void {
  if (Number.isFinite(loss) && Number.isFinite(norm)) return;
  const weight = firstNonFinite(weights);
  const gradient = firstNonFinite(gradients);
  const what =
    weight !== undefined
      ? `weight "${weight}" is not finite`
      : gradient !== undefined
        ? `the gradient of "${gradient}" is not finite`
        : 'the loss is not finite';
  throw new NumericError({
    where,
    expected: 'finite numbers',
    received: `loss ${loss}, gradient norm ${norm}: ${what}`,
    fix: 'Lower the learning rate or maxGradNorm, or look at the data of this step; the last checkpoint is untouched',
  });
}
