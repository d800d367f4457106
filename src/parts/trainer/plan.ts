/** What a run will cost, by term, before it starts. */
import { sizeOf } from '../../core/shapes.ts';
import type { Program } from '../../graph/program.ts';
import type { ParameterSpec } from '../../nn/parameters.ts';
import { bucketOf } from '../batch.ts';
import { columnBucket } from '../batches.ts';
import type { TrainMethod } from '../method.ts';
import type { TrainerConfig } from './config.ts';
import { type MemoryPlan, memoryPlan, productFlops } from './memory.ts';
import { updateProgram } from './programs.ts';
import { loadInputs, type RunObserver, trainerSettings } from './run-training.ts';
import { fitTraining, longestColumns, trainingMemory } from './training-memory.ts';

export interface TrainingPlan {
  /** All numbers of the model, and those that are trained. */
  readonly parameters: number;
  readonly trained: number;
  readonly examples: number;
  readonly evaluationExamples: number;
  readonly steps: number;
  /** Padded columns of the median and of the longest example. */
  readonly columns: { readonly median: number; readonly longest: number };
  /** As configured, or as chosen for `--memory`. */
  readonly microBatchSize: number;
  readonly gradientCheckpointing: boolean;
  /** Bytes by term, for the longest micro-batch. */
  readonly memory: MemoryPlan;
  /** Floating-point operations of the products of one optimizer step at the median length. */
  readonly flopsPerStep: number;
}

/**
 * Loads the inputs of a run and traces its step, without computing anything. Packing is not applied: rows count as read.
 *
 * @param residentBytes memory of this process now
 */
export async function planTraining(
  method: TrainMethod,
  config: TrainerConfig,
  observer: RunObserver,
  residentBytes: () => number,
): Promise<TrainingPlan> {
  const { loaded, training, evaluation, buildContext } = await loadInputs(method, config, observer);
  const { model, parameters } = loaded;
  const step = method.build(config, buildContext);
  const longest = longestColumns(step, training.examples);
  const fitted = fitTraining(config, loaded, step, longest);
  const settings = trainerSettings({ ...config, ...fitted }, training.examples.length);
  const lengths = training.examples.map((example) => step.columns(example)).sort((a, b) => a - b);
  const columns = {
    median: bucketOf(lengths[lengths.length >> 1]!, columnBucket),
    longest: bucketOf(longest, columnBucket),
  };
  const program = (width: number): Program =>
    updateProgram(model, step, settings.microBatchSize, width, settings.gradientCheckpointing);
  const terms = trainingMemory(config, loaded, step, columns.longest, settings);
  return {
    parameters: countNumbers(model.parameters),
    trained: parameters.count,
    examples: training.examples.length,
    evaluationExamples: evaluation?.examples.length ?? 0,
    steps: settings.totalSteps,
    columns,
    flopsPerStep: (productFlops(program(columns.median)) * settings.batchSize) / settings.microBatchSize,
    microBatchSize: settings.microBatchSize,
    gradientCheckpointing: settings.gradientCheckpointing,
    memory: memoryPlan({ process: Math.max(0, residentBytes() - terms.weights), ...terms }),
  };
}

/** Numbers of a model; packed ones count as what they stand for, and their scales not. */
export function countNumbers(specs: readonly ParameterSpec[]): number {
  const scales = new Set(specs.flatMap(({ holds }) => (holds === undefined ? [] : `${holds.name}.scales`)));
  return specs
    .filter(({ name }) => !scales.has(name))
    .reduce((total, { shape, holds }) => total + sizeOf(holds?.shape ?? shape), 0);
}
