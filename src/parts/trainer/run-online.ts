/** An online run on models in memory, from a configuration. */
import { ConfigError } from '../../core/errors.ts';
import { createRng, type Rng } from '../../core/rng.ts';
import type { Engine } from '../../engine/engine.ts';
import { isLoraModel } from '../../models/lora-model.ts';
import { scoreLoraFrom } from '../../models/lora-score.ts';
import { scoreModelFrom } from '../../models/score-model.ts';
import { createSchedule } from '../../optim/schedule.ts';
import { columnBucket } from '../batches.ts';
import type { RolloutPrompt } from '../rollout/rollout.ts';
import type { Scorer } from '../scorer/scorer.ts';
import type { OnlineStep } from '../step/online-step.ts';
import type { Watch } from './learner-watch.ts';
import { type OnlineHooks, type OnlineResult, trainOnline, type Weighted } from './online.ts';
import type { OnlineConfig } from './online-config.ts';
import { createOptimizer } from './run-training.ts';
import type { TrainerState } from './trainer.ts';

/** The shared configuration, with what methods that have a critic add to it. */
export type OnlineRunConfig = OnlineConfig & {
  readonly criticLearningRate?: number | undefined;
  readonly criticWarmup?: number;
  readonly learningRateKl?: number | undefined;
};

export interface OnlineRunOptions<C extends OnlineRunConfig = OnlineRunConfig> {
  readonly engine: Engine;
  readonly step: OnlineStep;
  readonly config: C;
  /** Trained in place. */
  readonly policy: Weighted;
  /** Frozen; when left out, a copy of the policy's weights as they are now (of its adapter, where it has one). */
  readonly reference?: Weighted;
  /** A score model, trained in place; the policy's trunk with a head of zeros when left out. */
  readonly critic?: Weighted;
  readonly scorer: Scorer;
  readonly prompts: readonly RolloutPrompt[];
  /** Tokens that end a completion. */
  readonly stopIds: ReadonlySet<number>;
  /** Ids as text, for scorers and hooks. */
  readonly decode: (ids: readonly number[]) => string;
  /** Default: the stream of `config.seed`. */
  readonly rng?: Rng;
  /** Milliseconds from any origin; without it times are 0. */
  readonly clock?: () => number;
  readonly hooks?: OnlineHooks;
  /** Watches every iteration and update; none when left out. */
  readonly watch?: Watch;
  /** State to go on from; the policy's weights are then those of the checkpoint, the reference is given. */
  readonly resume?: TrainerState;
}

/**
 * Runs `trainOnline` with optimizers, schedules and sizes from `config`.
 *
 * @returns the result, with the critic, which the caller may keep
 * @throws ConfigError when sizes do not divide each other, or prompt and completion do not fit the context
 */
export async function runOnline(
  options: OnlineRunOptions,
): Promise<OnlineResult & { readonly critic: Weighted | undefined; readonly reference: Weighted }> {
  const { engine, step, config, policy, scorer, prompts, stopIds, decode } = options;
  checkSizes(options);
  const reference = options.reference ?? { model: policy.model, parameters: policy.parameters.copy() };
  const critic = step.critic && (options.critic ?? criticFrom(policy));
  const { miniBatchSize, stepsPerIteration } = updateSizes(step, config);
  const warmup = config.criticWarmup ?? 0;
  const schedule = (learningRate: number, iterations: number): ((step: number) => number) =>
    createSchedule({
      kind: config.schedule,
      learningRate,
      warmupSteps: config.warmupSteps,
      totalSteps: Math.max(1, iterations * stepsPerIteration),
      minRatio: config.minLearningRateRatio,
    });
  const result = await trainOnline({
    ...{ engine, step, policy, reference, scorer, prompts, stopIds, decode },
    optimizer: createOptimizer(config, policy.parameters),
    ...(critic && { critic: { ...critic, optimizer: createOptimizer(config, critic.parameters) } }),
    schedules: {
      policy: schedule(config.learningRate, config.iterations - warmup),
      critic: schedule(config.criticLearningRate ?? config.learningRate, config.iterations),
    },
    settings: {
      iterations: config.iterations,
      batchSize: config.batchSize,
      completionsPerPrompt: config.completionsPerPrompt,
      updateEpochs: config.updateEpochs,
      miniBatchSize,
      microBatchSize: Math.min(config.microBatchSize ?? miniBatchSize, miniBatchSize),
      scoringBatchSize: Math.min(config.scoringBatchSize, config.batchSize),
      criticWarmup: warmup,
      maxNewTokens: config.maxNewTokens,
      topP: config.topP,
      shuffle: config.shuffle,
      ...(config.curriculum === 'success' && { curriculum: { success: config.curriculumSuccess } }),
      maxGradNorm: config.maxGradNorm,
      bucket: columnBucket,
      gradientCheckpointing: config.gradientCheckpointing,
      saveEvery: config.saveEvery,
    },
    rng: options.rng ?? createRng(config.seed),
    clock: options.clock ?? (() => 0),
    ...(options.hooks === undefined ? {} : { hooks: options.hooks }),
    ...(options.watch === undefined ? {} : { watch: options.watch }),
    ...(options.resume === undefined ? {} : { resume: options.resume }),
  });
  return { ...result, critic, reference };
}

/** What an iteration learns from, and in how many steps. */
export function updateSizes(
  { examplesPerPrompt }: Pick<OnlineStep, 'examplesPerPrompt'>,
  { batchSize, completionsPerPrompt, miniBatchSize, updateEpochs }: OnlineRunConfig,
) {
  const examples = (batchSize / completionsPerPrompt) * (examplesPerPrompt ?? completionsPerPrompt);
  const size = Math.min(miniBatchSize ?? examples, examples);
  return { miniBatchSize: size, stepsPerIteration: updateEpochs * Math.ceil(examples / size) };
}

/** A score model that starts as a model's trunk with a head of 0; over the same base where that has an adapter. */
export function criticFrom({ model, parameters }: Weighted): Weighted {
  return isLoraModel(model)
    ? scoreLoraFrom({ model, parameters })
    : scoreModelFrom({ model, parameters }, {});
}

/** @throws ConfigError when sizes do not divide each other, or do not fit the models */
export function checkSizes({
  step,
  config,
  policy: { model },
  prompts,
  critic,
}: Pick<OnlineRunOptions, 'step' | 'config' | 'policy' | 'prompts' | 'critic'>): void {
  if (config.batchSize % config.completionsPerPrompt !== 0) {
    throw new ConfigError({
      where: 'completionsPerPrompt',
      expected: `a divisor of batchSize (${config.batchSize})`,
      received: String(config.completionsPerPrompt),
      fix: 'Change one of the two',
    });
  }
  if (config.learningRateKl !== undefined && updateSizes(step, config).stepsPerIteration < 2) {
    throw new ConfigError({
      where: 'learningRateKl',
      expected: 'more than one update per iteration, the first of which is always on-policy',
      received: 'one',
      fix: 'Raise updateEpochs, or lower miniBatchSize',
    });
  }
  const longest = prompts.reduce((most, { ids }) => Math.max(most, ids.length), 0);
  if (longest + config.maxNewTokens > model.maxPositions) {
    throw new ConfigError({
      where: 'maxNewTokens',
      expected: `at most ${model.maxPositions - longest}: the context of ${model.maxPositions} less the longest prompt`,
      received: String(config.maxNewTokens),
      fix: 'Lower maxNewTokens, or maxLength with truncation keep-end',
    });
  }
  if (critic !== undefined && critic.model.vocabSize !== model.vocabSize) {
    throw new ConfigError({
      where: 'critic',
      expected: `the policy's vocabulary of ${model.vocabSize} tokens`,
      received: String(critic.model.vocabSize),
      fix: 'Use a critic with the same tokenizer',
    });
  }
}
