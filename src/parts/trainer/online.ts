/** The online loop: rollout → score → estimate → updates → controller, again and again. */
import { DataError, NumericError } from '../../core/errors.ts';
import type { Rng } from '../../core/rng.ts';
import { mean } from '../../core/statistics.ts';
import type { Engine } from '../../engine/engine.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import type { Parameters } from '../../nn/parameters.ts';
import type { Optimizer } from '../../optim/optimizer.ts';
import { controlValues, updateControls } from '../controller/controller.ts';
import { bySuccess, inTurn } from '../rollout/prompt-source.ts';
import { type RolloutRecord, rolloutRecords } from '../rollout/record.ts';
import type { RolloutPrompt, Trace } from '../rollout/rollout.ts';
import type { Score, Scorer } from '../scorer/scorer.ts';
import type { OnlineStep } from '../step/online-step.ts';
import type { Watch } from './learner-watch.ts';
import { learn, openModels, readBatch } from './online-iteration.ts';
import { sampleAndScore } from './online-sampling.ts';
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
  /** Prefer prompts that sometimes succeed: a completion with this score or more is a success. */
  readonly curriculum?: { readonly success: number };
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
  readonly step: OnlineStep;
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
 * computes them. Completions that cannot be scored are left out of everything that follows. When sampling or scoring fails, the
 * state before that iteration is saved.
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
  const source =
    settings.curriculum === undefined
      ? inTurn(options.rng, prompts.length, settings.shuffle)
      : bySuccess({ rng: options.rng, prompts: prompts.length, ...settings.curriculum });
  const parts = { controls: step.controls(), prompts: source };
  const counters = loadOnlineState(options, parts);
  const models = openModels(options);
  const watchdog = options.watch?.watchdog;
  const stateNow = (): TrainerState => onlineState(options, parts, counters);
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
      const before = stateNow();
      const sampled = await sampleAndScore(options, models, source, iteration).catch(
        async (error: unknown) => {
          // A reward that is out of reach, prompts that are solved: what was learned until here is not lost.
          if (iteration > 0 && !(error instanceof NumericError)) await hooks.save?.(before);
          throw error;
        },
      );
      hooks.rollouts?.(iteration, sampled.traces, sampled.scores);
      const batch = await readBatch(models, sampled, step, iteration);
      const values = controlValues(parts.controls);
      const { updates, metrics, outcomes } = step.estimate(batch, values);
      hooks.record?.(
        rolloutRecords({
          ...{ iteration, weightVersion: counters.policySteps, outcomes, resampled: sampled.resampled },
          ...{ sampled: sampled.traces, scores: sampled.scores, rewards: sampled.rewards },
          ...{ traces: batch.traces, referenceLogProbs: batch.referenceLogProbs },
          ...(step.critic !== undefined && { values: batch.values }),
        }),
      );
      const afterScoring = clock();
      watchdog?.iteration(metrics);
      let learned: Record<string, number>;
      try {
        learned = await learn(options, models, updates, counters, values.learningRate ?? 1);
      } catch (error) {
        if (options.watch === undefined) throw error;
        const resume = await rollBack(error, options.watch, () => hooks.restore?.(iteration));
        Object.assign(counters, loadOnlineState({ ...options, resume }, parts));
        continue;
      }
      updateControls(parts.controls, { ...metrics, ...learned }, batch.traces.length);
      counters.iteration++;
      counters.episodes += sampled.traces.length;
      counters.tokens += updates.reduce<number>((total, update) => total + step.policy.tokens(update), 0);
      const ended = clock();
      last = {
        step: counters.iteration,
        episode: counters.episodes,
        eps: (1000 * sampled.traces.length) / Math.max(ended - started, 1e-3),
        ...metrics,
        ...sampled.metrics,
        ...learned,
        'objective/unscored': sampled.traces.length - sampled.resampled.size - batch.traces.length,
        num_tokens: counters.tokens,
        'time/rollout': sampled.milliseconds.sampling / 1000,
        'time/score': (afterScoring - started - sampled.milliseconds.sampling) / 1000,
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
