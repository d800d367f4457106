/** The one training loop: batches, micro-batches, clipping, updates, evaluation, checkpoints, resumption. */
import { DataError } from '../../core/errors.ts';
import type { Rng } from '../../core/rng.ts';
import type { Engine } from '../../engine/engine.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import type { Parameters } from '../../nn/parameters.ts';
import type { Optimizer, OptimizerState } from '../../optim/optimizer.ts';
import { batchIndices, microBatches, stepsPerEpoch } from '../batches.ts';
import type { TrainStep } from '../step/train-step.ts';
import { type BestOptions, trackBest } from './best.ts';
import { createLearner, type Update } from './learner.ts';
import type { Watch } from './learner-watch.ts';
import { addTotals, type StepRunner, type Totals } from './programs.ts';
import { rollBack } from './watchdog.ts';

export interface TrainerSettings {
  /** Examples (sequences or pairs) per optimizer step. */
  readonly batchSize: number;
  /** Examples per forward pass; gradients accumulate over the micro-batches of a batch. */
  readonly microBatchSize: number;
  /** Optimizer steps in all. */
  readonly totalSteps: number;
  readonly shuffle: boolean;
  /** Largest global L2 norm of the gradient; larger ones are scaled down to it. 0 switches clipping off. */
  readonly maxGradNorm: number;
  /** Examples per forward pass of an evaluation. */
  readonly evaluationBatchSize: number;
  /** Columns are padded to a multiple of this. */
  readonly bucket: number;
  /** Steps between log records. */
  readonly logEvery: number;
  /** Steps between evaluations; 0 evaluates at the start and the end only. */
  readonly evaluateEvery: number;
  /** Steps between checkpoints; 0 saves at an interrupt only. */
  readonly saveEvery: number;
  /** Compute layers again for the gradient instead of keeping their insides. */
  readonly gradientCheckpointing: boolean;
  /** Train to the best evaluation instead of the last step. */
  readonly best?: BestOptions;
}

/** One line of metrics.jsonl. */
export type MetricRecord = Readonly<Record<string, number>>;

/** Everything besides weights that the next step depends on. */
export interface TrainerState {
  readonly step: number;
  readonly tokens: number;
  readonly optimizer: OptimizerState;
  /** What a loop needs besides, by name: counters, controllers; further weights and moments. */
  readonly extra?: {
    readonly numbers: Readonly<Record<string, number>>;
    readonly vectors: Readonly<Record<string, Float32Array>>;
  };
}

export interface TrainerHooks {
  /** Metrics of a step or an evaluation. */
  log(record: MetricRecord): void;
  /** After every step, for a progress line. */
  progress(step: {
    readonly step: number;
    readonly totalSteps: number;
    readonly loss: number;
    readonly tokens: number;
  }): void;
  /** Write a checkpoint. */
  save(state: TrainerState): Promise<void>;
  /**
   * Loads the weights of the last checkpoint of a step below `before` and gives its state, for a watchdog that rolls back. One of
   * the very step that raised the alarm would raise it again.
   */
  restore?(before: number): Promise<TrainerState | undefined>;
  /** True once the user asked to stop. */
  interrupted(): boolean;
}

export interface TrainOptions<E> {
  readonly engine: Engine;
  readonly model: CausalModel;
  readonly parameters: Parameters;
  readonly step: TrainStep<E>;
  readonly examples: readonly E[];
  readonly evaluation: readonly E[];
  readonly optimizer: Optimizer;
  /** Learning rate of optimizer step `step` (0-based). */
  readonly schedule: (step: number) => number;
  readonly settings: TrainerSettings;
  readonly rng: Rng;
  /** Milliseconds from any origin. */
  readonly clock: () => number;
  readonly hooks: TrainerHooks;
  /** Watches every update; none when left out. */
  readonly watch?: Watch;
  readonly resume?: TrainerState;
}

export interface TrainResult {
  readonly outcome: 'done' | 'interrupted';
  readonly state: TrainerState;
  /** Metrics of the last evaluation, prefixed `eval_`; empty without evaluation data. */
  readonly evaluation: MetricRecord;
}

/**
 * Trains `parameters` in place.
 *
 * The gradient is that of (Σ losses) / (Σ weights) over the whole batch: how it is cut into micro-batches changes
 * nothing but rounding. The order of examples and every random number depend on (seed, step) only.
 *
 * @throws NumericError naming the first parameter whose gradient is not finite; weights are then those before the step
 * @throws DataError when there is nothing to learn
 */
export async function train<E>(options: TrainOptions<E>): Promise<TrainResult> {
  const { step: method, examples, evaluation, settings, hooks } = options;
  if (examples.length === 0) {
    throw new DataError({
      where: 'train',
      expected: 'at least one example',
      received: 'none',
      fix: 'Check the data set',
    });
  }
  const learner = createLearner({ ...options, settings });
  const perEpoch = stepsPerEpoch(examples.length, settings.batchSize);
  let [step, tokens] = [0, 0];
  const watchdog = options.watch?.watchdog;
  const running = method.coupling?.running;
  const best = settings.best && trackBest(options.parameters, settings.best);
  const load = (state: TrainerState): void => {
    ({ step, tokens } = state);
    options.optimizer.load(state.optimizer);
    if (state.extra !== undefined) best?.load(state.extra);
    watchdog?.load(state.extra?.numbers ?? {});
    running?.load(state.extra?.numbers ?? {});
  };
  if (options.resume !== undefined) load(options.resume);
  const stateNow = (): TrainerState => {
    const { numbers = {}, vectors = {} } = best?.state() ?? {};
    const extra = { numbers: { ...numbers, ...watchdog?.state(), ...running?.state() }, vectors };
    return {
      ...{ step, tokens, optimizer: options.optimizer.state() },
      ...(Object.keys(extra.numbers).length > 0 && { extra }),
    };
  };
  const window = createWindow();
  let lastEvaluation: MetricRecord = {};

  const evaluateNow = async (): Promise<void> => {
    if (evaluation.length === 0) return;
    const completed = await learner.coupler.complete(evaluation, false);
    lastEvaluation = prefixed('eval_', await evaluate(learner.runner, method, completed, settings));
    hooks.log({ step, epoch: step / perEpoch, ...lastEvaluation });
    best?.observe(lastEvaluation, step);
  };

  try {
    if (step === 0) await evaluateNow();
    // There has to be a checkpoint to go back to.
    if (step === 0 && watchdog?.action === 'roll-back') await hooks.save(stateNow());
    while (step < settings.totalSteps && best?.exhausted !== true) {
      if (hooks.interrupted()) {
        await hooks.save(stateNow());
        return { outcome: 'interrupted', state: stateNow(), evaluation: lastEvaluation };
      }
      const started = options.clock();
      const batch = batchIndices(
        options.rng,
        examples.length,
        settings.batchSize,
        step,
        settings.shuffle,
      ).map((index) => examples[index]!);
      const learningRate = options.schedule(step) * (watchdog?.learningRateScale ?? 1);
      let update: Update;
      try {
        update = await learner.update(batch, learningRate, `step ${step + 1}`);
      } catch (error) {
        if (options.watch === undefined) throw error;
        load(await rollBack(error, options.watch, () => hooks.restore?.(step)));
        window.clear();
        continue;
      }
      const { totals, weight, norm, loss, tokens: read } = update;
      step++;
      tokens += read;
      window.add({ totals, weight, norm, tokens: read, milliseconds: options.clock() - started });
      hooks.progress({ step, totalSteps: settings.totalSteps, loss, tokens: read });
      if (step % settings.logEvery === 0 || step === settings.totalSteps) {
        hooks.log({
          step,
          epoch: step / perEpoch,
          ...window.take(method),
          learning_rate: learningRate,
          num_tokens: tokens,
        });
      }
      const last = step === settings.totalSteps;
      if (last || (settings.evaluateEvery > 0 && step % settings.evaluateEvery === 0)) await evaluateNow();
      if (!last && settings.saveEvery > 0 && step % settings.saveEvery === 0) await hooks.save(stateNow());
    }
    if (best?.found !== undefined) {
      hooks.log({ step, best_step: best.found.step, best_metric: best.found.value });
      best.restore();
    }
    return { outcome: 'done', state: stateNow(), evaluation: lastEvaluation };
  } finally {
    learner.dispose();
  }
}

/** Mean loss and metrics over held-out examples. */
export async function evaluate<E>(
  runner: Pick<StepRunner<E>, 'evaluate'>,
  method: TrainStep<E>,
  examples: readonly E[],
  settings: Pick<TrainerSettings, 'evaluationBatchSize' | 'bucket'>,
): Promise<Record<string, number>> {
  const totals: Totals = {};
  const weight = examples.reduce((total, example) => total + method.weight(example), 0);
  if (weight === 0) {
    throw new DataError({
      where: 'evaluation',
      expected: 'held-out rows with something to predict',
      received: `${examples.length} without`,
      fix: 'Give them completions, or evaluate on other rows',
    });
  }
  for (const part of microBatches(
    examples,
    (example) => method.columns(example),
    settings.evaluationBatchSize,
    settings.bucket,
  )) {
    addTotals(totals, await runner.evaluate(part), method.combine);
  }
  return { loss: (totals.loss ?? 0) / weight, ...method.summarize(totals) };
}

interface StepFigures {
  readonly totals: Totals;
  readonly weight: number;
  readonly norm: number;
  readonly tokens: number;
  readonly milliseconds: number;
}

/** Means over the steps since the last log record. */
function createWindow(): {
  add(figures: StepFigures): void;
  clear(): void;
  take<E>(method: TrainStep<E>): Record<string, number>;
} {
  let steps: StepFigures[] = [];
  return {
    add: (figures) => void steps.push(figures),
    clear() {
      steps = [];
    },
    take(method) {
      const totals: Totals = {};
      let [weight, norm, tokens, milliseconds] = [0, 0, 0, 0];
      for (const figures of steps) {
        addTotals(totals, figures.totals, method.combine);
        weight += figures.weight;
        norm += figures.norm / steps.length;
        tokens += figures.tokens;
        milliseconds += figures.milliseconds;
      }
      steps = [];
      return {
        loss: (totals.loss ?? 0) / weight,
        grad_norm: norm,
        ...method.summarize(totals),
        tokens_per_second: (1000 * tokens) / Math.max(milliseconds, 1e-3),
      };
    },
  };
}

function prefixed(prefix: string, record: MetricRecord): MetricRecord {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [prefix + name, value]));
}
