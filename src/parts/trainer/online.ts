/** The online loop: rollout → score → estimate → updates → controller, again and again. */
import { DataError } from '../../core/errors.ts';
import type { Rng } from '../../core/rng.ts';
import { mean } from '../../core/statistics.ts';
import type { Engine } from '../../engine/engine.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import type { Parameters } from '../../nn/parameters.ts';
import type { Optimizer } from '../../optim/optimizer.ts';
import { type RolloutRecord, rolloutRecords } from '../rollout/record.ts';
import { type RolloutPrompt, scoreItem, type Trace } from '../rollout/rollout.ts';
import { type Score, type Scorer, scoreAll } from '../scorer/scorer.ts';
import { type PartScore, rewardMetrics } from '../scorer/weighted-scorer.ts';
import type { PolicyGradientStep } from '../step/policy-gradient.ts';
import type { Watch } from './learner-watch.ts';
import { learn, openModels, readBatch, sampleBatch } from './online-iteration.ts';
import { loadOnlineState, onlineState } from './online-state.ts';
import type { MetricRecord, TrainerState } from './trainer.ts';
import { rollBack } from './watchdog.ts';

/** A model with its weights. */
export interface Weighted {
  readonly model: CausalModel;
  readonly parameters: Parameters;
}

export interface OnlineSettings {
  /** Rollouts and updates in all. */
  readonly iterations: number;
  /** Completions per iteration. */
  readonly batchSize: number;
  /** Completions of each prompt; must divide `batchSize`. */
  readonly completionsPerPrompt: number;
  /** Passes over the completions of an iteration. */
  readonly updateEpochs: number;
  /** Completions per optimizer step. */
  readonly miniBatchSize: number;
  /** Completions per forward pass of an update; gradients accumulate. */
  readonly microBatchSize: number;
  /** Completions per forward pass without gradients, and rows decoded together. */
  readonly scoringBatchSize: number;
  /** First iterations in which only the critic learns. */
  readonly criticWarmup: number;
  readonly maxNewTokens: number;
  readonly topP: number;
  readonly shuffle: boolean;
  readonly maxGradNorm: number;
  readonly bucket: number;
  readonly gradientCheckpointing: boolean;
  /** Iterations between checkpoints; 0 saves at an interrupt only. */
  readonly saveEvery: number;
}

export interface OnlineHooks {
  /** Metrics of an iteration. */
  log?(record: MetricRecord): void;
  /** After every iteration. */
  progress?(done: { readonly iteration: number; readonly iterations: number; readonly score: number }): void;
  /** The completions of an iteration with their scores, before anything is learned from them. */
  rollouts?(iteration: number, traces: readonly Trace[], scores: readonly Score[]): void;
  /** The completions of an iteration with all that is known of them, before anything is learned from them. */
  record?(records: readonly RolloutRecord[]): void;
  /** Write a checkpoint. The vectors are live: copy or write them before returning. */
  save?(state: TrainerState): Promise<void>;
  /** Loads the policy of the last checkpoint of an iteration below `before` and gives its state, as in `TrainerHooks`. */
  restore?(before: number): Promise<TrainerState | undefined>;
  /** True once the run should stop. */
  interrupted?(): boolean;
}

export interface OnlineOptions {
  readonly engine: Engine;
  readonly step: PolicyGradientStep;
  /** Trained in place. */
  readonly policy: Weighted;
  /** Frozen: the policy before training, with parameters of its own. */
  readonly reference: Weighted;
  /** A score model, trained in place; only where the step has a critic. */
  readonly critic?: Weighted & { readonly optimizer: Optimizer };
  readonly optimizer: Optimizer;
  /** Learning rate of optimizer step `step` (0-based). */
  readonly schedules: {
    readonly policy: (step: number) => number;
    readonly critic: (step: number) => number;
  };
  readonly scorer: Scorer;
  readonly prompts: readonly RolloutPrompt[];
  /** Tokens that end a completion. */
  readonly stopIds: ReadonlySet<number>;
  readonly decode: (ids: readonly number[]) => string;
  readonly settings: OnlineSettings;
  readonly rng: Rng;
  /** Milliseconds from any origin. */
  readonly clock: () => number;
  readonly hooks?: OnlineHooks;
  /** Watches every iteration and update; none when left out. */
  readonly watch?: Watch;
  readonly resume?: TrainerState;
}

export interface OnlineResult {
  readonly outcome: 'done' | 'interrupted';
  readonly state: TrainerState;
  readonly iterations: number;
  /** Metrics of the first and the last iteration of this call. */
  readonly first: MetricRecord;
  readonly last: MetricRecord;
}

/**
 * Trains policy and critic in place.
 *
 * Random numbers and the choice of prompts depend on (seed, iteration) only, so that a run resumed from a saved state
 * equals one that was never interrupted. Log-probabilities at rollout are the generator's own (it runs the same kernels
 * on the same weights; `sampling/logp_difference` shows the gap), except at a temperature other than 1, where one pass
 * computes them. Completions that cannot be scored are left out of everything that follows.
 *
 * @throws DataError when there are no prompts or no completion of an iteration can be scored; NumericError as `train`
 */
export async function trainOnline(options: OnlineOptions): Promise<OnlineResult> {
  const { settings, hooks = {}, step, clock, prompts } = options;
  if (prompts.length === 0) {
    throw new DataError({
      where: 'trainOnline',
      expected: 'at least one prompt',
      received: 'none',
      fix: 'Check the data set',
    });
  }
  const controller = step.controller();
  const counters = loadOnlineState(options, controller);
  const models = openModels(options);
  const watchdog = options.watch?.watchdog;
  const stateNow = (): TrainerState => onlineState(options, controller, counters);
  let [first, last]: [MetricRecord, MetricRecord] = [{}, {}];
  const finished = (outcome: OnlineResult['outcome']): OnlineResult => ({
    ...{ outcome, first, last },
    state: stateNow(),
    iterations: counters.iteration,
  });
  try {
    // There has to be a checkpoint to go back to.
    if (counters.iteration === 0 && watchdog?.action === 'roll-back') await hooks.save?.(stateNow());
    while (counters.iteration < settings.iterations) {
      if (hooks.interrupted?.() === true) {
        await hooks.save?.(stateNow());
        return finished('interrupted');
      }
      const { iteration } = counters;
      const started = clock();
      const sampled = await sampleBatch(options, models, iteration);
      const afterSampling = clock();
      const parts = new Map<string, readonly PartScore[]>();
      const scores = await scoreAll(options.scorer, sampled.map(scoreItem), {
        iteration,
        onPart: (name, scored) => void parts.set(name, scored),
      });
      hooks.rollouts?.(iteration, sampled, scores);
      const batch = await readBatch(models, sampled, scores, step.temperature, iteration);
      const { updates, metrics, kl, outcomes } = step.estimate(batch, controller.coefficient);
      hooks.record?.(
        rolloutRecords({
          ...{ iteration, weightVersion: counters.policySteps, sampled, scores, outcomes },
          ...{ traces: batch.traces, referenceLogProbs: batch.referenceLogProbs },
          ...(step.critic !== undefined && { values: batch.values }),
        }),
      );
      const afterScoring = clock();
      watchdog?.iteration(metrics);
      let learned: Record<string, number>;
      try {
        learned = await learn(options, models, updates, counters);
      } catch (error) {
        if (options.watch === undefined) throw error;
        const resume = await rollBack(error, options.watch, () => hooks.restore?.(iteration));
        Object.assign(counters, loadOnlineState({ ...options, resume }, controller));
        continue;
      }
      controller.update(kl, batch.traces.length);
      counters.iteration++;
      counters.episodes += sampled.length;
      counters.tokens += updates.reduce((total, { ids }) => total + ids.length, 0);
      const ended = clock();
      last = {
        step: counters.iteration,
        episode: counters.episodes,
        eps: (1000 * sampled.length) / Math.max(ended - started, 1e-3),
        ...metrics,
        ...Object.assign({}, ...Array.from(parts, ([name, scored]) => rewardMetrics(name, scored))),
        ...learned,
        'objective/unscored': sampled.length - batch.traces.length,
        num_tokens: counters.tokens,
        'time/rollout': (afterSampling - started) / 1000,
        'time/score': (afterScoring - afterSampling) / 1000,
        'time/update': (ended - afterScoring) / 1000,
      };
      if (Object.keys(first).length === 0) first = last;
      hooks.log?.(last);
      hooks.progress?.({
        iteration: counters.iteration,
        iterations: settings.iterations,
        score: mean(batch.scores),
      });
      const done = counters.iteration === settings.iterations;
      if (!done && settings.saveEvery > 0 && counters.iteration % settings.saveEvery === 0) {
        await hooks.save?.(stateNow());
      }
    }
    return finished('done');
  } finally {
    models.dispose();
  }
}
