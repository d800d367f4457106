/** Memory of a training run by term, and the micro-batch that fits into a limit. */
import { bucketOf } from '../batch.ts';
import { columnBucket } from '../batches.ts';
import type { TrainStep } from '../step/train-step.ts';
import type { TrainerConfig } from './config.ts';
import {
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
  return {
    weights: weightBytes([parameters]),
    ...trainedBytes(parameters.flat.byteLength, {
      ...config,
      accumulates: microBatchSize < config.batchSize,
    }),
    activations: peakActivationBytes(
      updateProgram(model, step, microBatchSize, columns, gradientCheckpointing),
    ),
  };
}

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
