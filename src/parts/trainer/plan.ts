/** What a run will cost, by term, before it starts. */
import { sizeOf } from '../../core/shapes.ts';
import { optimize } from '../../graph/optimize.ts';
import { inputOp, type Program, reachableNodes } from '../../graph/program.ts';
import type { Node, Tensor } from '../../graph/tensor.ts';
import type { ParameterSpec } from '../../nn/parameters.ts';
import { bucketOf } from '../batch.ts';
import type { TrainMethod } from '../method.ts';
import type { TrainerConfig } from './config.ts';
import { stepProgram } from './programs.ts';
import { columnBucket, loadInputs, type RunObserver, trainerSettings } from './run-training.ts';

export interface TrainingPlan {
  /** All numbers of the model, and those that are trained. */
  readonly parameters: number;
  readonly trained: number;
  readonly examples: number;
  readonly evaluationExamples: number;
  readonly steps: number;
  /** Padded columns of the median and of the longest example. */
  readonly columns: { readonly median: number; readonly longest: number };
  /** Bytes by term, for the longest micro-batch. */
  readonly memory: {
    readonly weights: number;
    readonly gradients: number;
    readonly optimizer: number;
    /** Most bytes of intermediate results alive at once; an estimate from the order of the graph. */
    readonly activations: number;
    readonly total: number;
  };
  /** Floating-point operations of the products of one optimizer step at the median length. */
  readonly flopsPerStep: number;
}

/** Loads the inputs of a run and traces its step, without computing anything. Packing is not applied: rows count as read. */
export async function planTraining(
  method: TrainMethod,
  config: TrainerConfig,
  observer: RunObserver,
): Promise<TrainingPlan> {
  const { loaded, training, evaluation } = await loadInputs(method, config, observer);
  const { model, parameters } = loaded;
  const step = method.build(config);
  const settings = trainerSettings(config, training.examples.length);
  const lengths = training.examples.map((example) => step.columns(example)).sort((a, b) => a - b);
  const columns = {
    median: bucketOf(lengths[lengths.length >> 1]!, columnBucket),
    longest: bucketOf(lengths.at(-1)!, columnBucket),
  };
  const program = (width: number): Program =>
    optimize(
      stepProgram(model, step, settings.microBatchSize, width, {
        withGradients: true,
        rematerialize: settings.gradientCheckpointing,
      }),
    );
  const vector = parameters.flat.byteLength;
  const accumulates = settings.microBatchSize < settings.batchSize;
  const moments = config.optimizer === 'sgd' ? (config.momentum === 0 ? 0 : 1) : 2;
  const memory = {
    weights: vector + parameters.frozenBytes,
    gradients: accumulates ? 2 * vector : vector,
    optimizer: moments * vector,
    activations: peakActivationBytes(program(columns.longest)),
  };
  return {
    parameters: countNumbers(model.parameters),
    trained: parameters.count,
    examples: training.examples.length,
    evaluationExamples: evaluation?.examples.length ?? 0,
    steps: settings.totalSteps,
    columns,
    memory: { ...memory, total: Object.values(memory).reduce((total, bytes) => total + bytes, 0) },
    flopsPerStep: (productFlops(program(columns.median)) * settings.batchSize) / settings.microBatchSize,
  };
}

/** Numbers of a model; packed ones count as what they stand for, and their scales not. */
function countNumbers(specs: readonly ParameterSpec[]): number {
  const scales = new Set(specs.flatMap(({ holds }) => (holds === undefined ? [] : `${holds.name}.scales`)));
  return specs
    .filter(({ name }) => !scales.has(name))
    .reduce((total, { shape, holds }) => total + sizeOf(holds?.shape ?? shape), 0);
}

/** Operations that share the memory of their first input. */
const aliases: ReadonlySet<string> = new Set(['reshape', 'stopGradient', 'custom']);

/** Most bytes of intermediate tensors alive at once when nodes run in order and die after their last use. */
export function peakActivationBytes(program: Program): number {
  const nodes = reachableNodes(program.outputs.map(({ tensor }) => tensor));
  const given = new Set<Tensor>([...program.inputs, ...program.outputs].map(({ tensor }) => tensor));
  const owner = new Map<Tensor, Tensor>();
  const ownerOf = (tensor: Tensor): Tensor => owner.get(tensor) ?? tensor;
  const lastUse = new Map<Tensor, Node>();
  for (const node of nodes) {
    if (aliases.has(node.op.name)) owner.set(node.outputs[0]!, ownerOf(node.inputs[0]!));
    for (const tensor of node.inputs) lastUse.set(ownerOf(tensor), node);
  }
  const dying = new Map<Node, Tensor[]>();
  for (const [tensor, node] of lastUse) dying.set(node, [...(dying.get(node) ?? []), tensor]);
  const bytes = (tensor: Tensor): number =>
    given.has(tensor) || (tensor.node.op as object) === inputOp
      ? 0
      : sizeOf(tensor.shape) * (tensor.dtype === 'int64' ? 8 : 4);
  let live = 0;
  let peak = 0;
  for (const node of nodes) {
    if (!aliases.has(node.op.name)) live += node.outputs.reduce((total, tensor) => total + bytes(tensor), 0);
    peak = Math.max(peak, live);
    for (const tensor of dying.get(node) ?? []) live -= bytes(tensor);
  }
  return peak;
}

/** 2·M·N·K summed over the matrix products of a program. */
export function productFlops(program: Program): number {
  let flops = 0;
  for (const node of reachableNodes(program.outputs.map(({ tensor }) => tensor))) {
    if (node.op.name !== 'matmul') continue;
    const { transposeA } = node.attributes as { transposeA: boolean };
    flops += 2 * sizeOf(node.outputs[0]!.shape) * node.inputs[0]!.shape.at(transposeA ? -2 : -1)!;
  }
  return flops;
}
