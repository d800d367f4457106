/** Memory of a run by term, from its programs. */
import { ConfigError } from '../../core/errors.ts';
import { sizeOf } from '../../core/shapes.ts';
import { cacheTensorNames } from '../../generate/programs.ts';
import { inputOp, type Program } from '../../graph/program.ts';
import type { Node, Tensor } from '../../graph/tensor.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import type { Parameters } from '../../nn/parameters.ts';
import { runningOrder } from '../../onnx/running-order.ts';

/** Bytes by term. */
export interface MemoryPlan {
  /** Node.js, the libraries, the data and the traced programs: what the process takes now, less the weights. */
  readonly process: number;
  readonly weights: number;
  readonly gradients: number;
  readonly optimizer: number;
  /** Keys and values of the completions that are sampled at once, and packed weights; methods that sample only. */
  readonly sampling?: number;
  /** Most bytes of intermediate results alive at once in the largest program. */
  readonly activations: number;
  readonly total: number;
}

/** Adds the total. */
export function memoryPlan(terms: Omit<MemoryPlan, 'total'>): MemoryPlan {
  return { ...terms, total: Object.values(terms).reduce((total, bytes) => total + bytes, 0) };
}

/** Keys and values of `rows` sequences of `columns` tokens that are sampled at once. */
export const cacheBytes = (model: CausalModel, rows: number, columns: number): number =>
  4 * cacheTensorNames(model).length * rows * model.keyValueHeads * model.headSize * columns;

/** A vector that is trained: its gradient (two where micro-batches add up) and the optimizer's moments. */
export function trainedBytes(
  vector: number,
  { accumulates, optimizer, momentum }: { accumulates: boolean; optimizer: string; momentum: number },
): { readonly gradients: number; readonly optimizer: number } {
  const moments = optimizer === 'sgd' ? (momentum === 0 ? 0 : 1) : 2;
  return { gradients: accumulates ? 2 * vector : vector, optimizer: moments * vector };
}

/** Operations that share the memory of their first input. */
const aliases: ReadonlySet<string> = new Set(['reshape', 'stopGradient', 'custom']);

/**
 * Most bytes of intermediate tensors alive at once when the engine runs the program: each lives from its node to the last that
 * reads it, in the order of `runningOrder`. Inputs and outputs are the caller's memory and do not count.
 */
export function peakActivationBytes(program: Program): number {
  const nodes = runningOrder(program);
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
  for (const node of runningOrder(program)) {
    if (node.op.name !== 'matmul') continue;
    const { transposeA } = node.attributes as { transposeA: boolean };
    flops += 2 * sizeOf(node.outputs[0]!.shape) * node.inputs[0]!.shape.at(transposeA ? -2 : -1)!;
  }
  return flops;
}

/** Bytes of weights; memory that models share counts once. */
export function weightBytes(models: readonly Pick<Parameters, 'arrays'>[]): number {
  const seen = new Map<ArrayBufferLike, Set<number>>();
  let bytes = 0;
  for (const view of models.flatMap((parameters) => Object.values(parameters.arrays()))) {
    const starts = seen.get(view.buffer) ?? new Set();
    if (!starts.has(view.byteOffset)) bytes += view.byteLength;
    seen.set(view.buffer, starts.add(view.byteOffset));
  }
  return bytes;
}

/** What Node.js, the libraries and the data are taken to need when a micro-batch is chosen for a limit. */
const processBytes = 256 * 2 ** 20;

/** What `--memory` may change. */
export interface MemoryChoice {
  readonly microBatchSize: number;
  readonly gradientCheckpointing: boolean;
}

/**
 * The largest micro-batch that fits into `limit`, by halves; checkpointing, which costs a third more time, only where not even a
 * micro-batch of one fits without. A function of the limit and the estimates alone, so that a resumed run chooses alike.
 *
 * @param largest micro-batch to begin with
 * @param estimate bytes of a choice, without the process
 * @throws ConfigError naming the least that would do
 */
export function fitToMemory(
  limit: number,
  largest: number,
  estimate: (choice: MemoryChoice) => number,
): MemoryChoice {
  let least = Number.POSITIVE_INFINITY;
  for (const gradientCheckpointing of [false, true]) {
    for (let microBatchSize = largest; microBatchSize >= 1; microBatchSize = Math.floor(microBatchSize / 2)) {
      const choice = { microBatchSize, gradientCheckpointing };
      const bytes = processBytes + estimate(choice);
      if (bytes <= limit) return choice;
      least = Math.min(least, bytes);
    }
  }
  throw new ConfigError({
    where: '--memory',
    expected: `at least ${(least / 2 ** 30).toFixed(2)}GiB, for one example at a time with gradientCheckpointing`,
    received: `${(limit / 2 ** 30).toFixed(2)}GiB`,
    fix: 'Raise it, lower maxLength, or train an adapter with --lora',
  });
}

/** Bytes of a size such as 8GiB, 512MiB or 6GB. @throws ConfigError when it is none */
export function parseBytes(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([KMGT]i?B|B)$/i.exec(text.trim()) ?? [];
  if (number === undefined) {
    throw new ConfigError({
      where: '--memory',
      expected: 'a size such as 8GiB, 512MiB or 6GB',
      received: JSON.stringify(text),
    });
  }
  const power = 'BKMGT'.indexOf(unit[0]!.toUpperCase());
  return Number(number) * (unit.length === 3 ? 1024 : 1000) ** power;
}
