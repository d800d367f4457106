/** Memory of an online run by term. */
import { packingSteps } from '../../generate/generate.ts';
import { prefillTokens } from '../../generate/prompt-layout.ts';
import { optimize } from '../../graph/optimize.ts';
import { trace } from '../../graph/program.ts';
import { weightTypes } from '../../models/causal-model.ts';
import { bucketOf, columnsOf, type TokenInputs, tokenTypes } from '../batch.ts';
import { columnBucket } from '../batches.ts';
import { batchLogProbs } from '../logprob.ts';
import type { RolloutPrompt } from '../rollout/rollout.ts';
import type { OnlineStep } from '../step/online-step.ts';
import {
  cacheBytes,
  fitToMemory,
  type MemoryChoice,
  parseBytes,
  peakActivationBytes,
  trainedBytes,
  weightBytes,
} from './memory.ts';
import type { OnlineModels } from './online-models.ts';
import { updateProgram } from './programs.ts';
import { type OnlineRunConfig, updateSizes } from './run-online.ts';

interface Inputs {
  readonly models: OnlineModels;
  readonly prompts: readonly RolloutPrompt[];
  readonly step: OnlineStep;
  readonly config: OnlineRunConfig;
}

/** Terms of an online run for a choice of micro-batch and checkpointing, without the process. */
export function onlineMemory({ models, prompts, step, config }: Inputs, choice: MemoryChoice) {
  const { policy, reference, critic, rewardModels } = models;
  const columns = longestColumns(prompts, config);
  const learners = [
    { model: policy, step: step.policy },
    ...(critic && step.critic ? [{ model: critic, step: step.critic }] : []),
  ];
  const { miniBatchSize } = updateSizes(step, config);
  const trained = learners.map(({ model }) =>
    trainedBytes(model.parameters.flat.byteLength, {
      ...config,
      accumulates: choice.microBatchSize < miniBatchSize,
    }),
  );
  const updates = learners.map(({ model, step }) =>
    peakActivationBytes(
      updateProgram(model.model, step, choice.microBatchSize, columns, choice.gradientCheckpointing),
    ),
  );
  const rows = Math.min(config.scoringBatchSize, config.batchSize);
  return {
    weights: weightBytes(
      [policy, reference, ...(critic ? [critic] : []), ...rewardModels.values()].map(
        ({ parameters }) => parameters,
      ),
    ),
    gradients: trained.reduce((total, { gradients }) => total + gradients, 0),
    optimizer: trained.reduce((total, { optimizer }) => total + optimizer, 0),
    sampling: samplingBytes(policy, rows, columns, config),
    // Programs run in turn in one arena: the largest decides.
    activations: Math.max(...updates, scoringBytes(reference, rows, columns)),
  };
}

/**
 * Keys and values of the rows sampled at once, those of their prompts as they leave the pass that computes them, and the copy
 * of the weights that is packed for long completions. Another copy for each half of the rows that ends much earlier is left out.
 */
function samplingBytes(
  { model, parameters }: OnlineModels['policy'],
  rows: number,
  columns: number,
  { batchSize, maxNewTokens }: OnlineRunConfig,
): number {
  const prompts = Math.min(rows * Math.max(columns - maxNewTokens, 1), prefillTokens);
  const packs = Math.ceil((batchSize * maxNewTokens) / rows) >= packingSteps;
  return (
    cacheBytes(model, rows, columns) + cacheBytes(model, 1, prompts) + (packs ? weightBytes([parameters]) : 0)
  );
}

/** Padded columns of the longest prompt with the longest completion. */
export const longestColumns = (
  prompts: readonly RolloutPrompt[],
  { maxNewTokens }: OnlineRunConfig,
): number =>
  bucketOf(
    columnsOf(prompts.reduce((most, { ids }) => Math.max(most, ids.length), 0) + maxNewTokens),
    columnBucket,
  );

/** Reading log-probabilities of a batch, the largest pass without gradients. */
function scoringBytes({ model }: OnlineModels['reference'], rows: number, columns: number): number {
  const program = trace({ ...weightTypes(model), ...tokenTypes(rows, columns, false) }, (inputs) => ({
    out: batchLogProbs(model, inputs, inputs as unknown as TokenInputs).logProbs,
  }));
  return peakActivationBytes(optimize(program));
}

/** Micro-batch and checkpointing: as configured, or what fits into `--memory`. */
export function fitOnline(inputs: Inputs): MemoryChoice {
  const { step, config } = inputs;
  const { memory, gradientCheckpointing } = config;
  const { miniBatchSize } = updateSizes(step, config);
  const microBatchSize = Math.min(config.microBatchSize ?? miniBatchSize, miniBatchSize);
  if (memory === undefined) return { microBatchSize, gradientCheckpointing };
  return fitToMemory(parseBytes(memory), microBatchSize, (choice) =>
    Object.values(onlineMemory(inputs, choice)).reduce((total, bytes) => total + bytes, 0),
  );
}
