/** Memory of a training run by term, and the micro-batch that fits into a limit. */
import { bucketOf } from '../batch.ts';
import { columnBucket } from '../batches.ts';
import type { TrainStep } from '../step/train-step.ts';
import type { TrainerConfig } from './config.ts';
import {
  cacheBytes,
  fitToMemory,
  type MemoryChoice,
  parseBytes,
  peakActivationBytes,
  trainedBytes,
  weightBytes,
} from './memory.ts';
import type { Weighted } from './online.ts';
import { updateProgram } from './programs.ts';

type Config = Pick<
  TrainerConfig,
  'batchSize' | 'microBatchSize' | 'memory' | 'gradientCheckpointing' | 'optimizer' | 'momentum'
>;

/** Terms without the process, for micro-batches of `columns`. */
export function trainingMemory<E>(
  config: Config,
  { model, parameters }: Weighted,
  step: TrainStep<E>,
  columns: number,
  { microBatchSize, gradientCheckpointing }: MemoryChoice,
) {
  const samplers = step.sampling?.samplers({ model, parameters }) ?? [];
  return {
    weights: weightBytes([parameters, ...(step.frozen ?? [])]),
    ...trainedBytes(parameters.flat.byteLength, {
      ...config,
      accumulates: microBatchSize < config.batchSize,
    }),
    // Samplers keep their caches between batches.
    ...(samplers.length > 0 && {
      sampling: samplers.reduce(
        (total, { model }) => total + cacheBytes(model, config.batchSize, columns),
        0,
      ),
    }),
    activations: peakActivationBytes(
      updateProgram(model, step, microBatchSize, columns, gradientCheckpointing),
    ),
  };
}

/** Columns of the longest example, also once it is sampled. */
export const longestColumns = <E>({ columns, sampling }: TrainStep<E>, examples: readonly E[]): number =>
  examples.reduce<number>(
    (most, example) => Math.max(most, columns(example), sampling?.columns(example) ?? 0),
    0,
  );

/**
 * Micro-batch and checkpointing: as configured, or what fits into `--memory`.
 *
 * @param longest columns of the longest example
 */
export function fitTraining<E>(
  config: Config,
  loaded: Weighted,
  step: TrainStep<E>,
  longest: number,
): MemoryChoice {
  const { batchSize, gradientCheckpointing, memory } = config;
  const microBatchSize = Math.min(config.microBatchSize ?? batchSize, batchSize);
  if (memory === undefined) return { microBatchSize, gradientCheckpointing };
  const columns = bucketOf(longest, columnBucket);
  return fitToMemory(parseBytes(memory), microBatchSize, (choice) =>
    Object.values(trainingMemory(config, loaded, step, columns, choice)).reduce(
      (total, bytes) => total + bytes,
      0,
    ),
  );
}
