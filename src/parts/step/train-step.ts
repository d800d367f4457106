/** What the trainer needs to know of a method: how examples become batches, and what is minimised on them. */
import type { HostArray } from '../../core/host-tensor.ts';
import type { Tensor, TensorType } from '../../graph/tensor.ts';
import type { CausalModel, Weights } from '../../models/causal-model.ts';
import type { Parameters } from '../../nn/parameters.ts';
import type { BatchSampling } from './batch-sampling.ts';
import type { Coupling } from './coupling.ts';

/** The model under training, as traced tensors. */
export interface TracedPolicy {
  readonly model: CausalModel;
  readonly weights: Weights;
  readonly rematerialize: boolean;
}

/** Sums over a micro-batch: they add up over micro-batches, so ratios of totals do not depend on how a batch was cut. */
export interface StepSums {
  /** Sum of the losses; divided by the batch's total weight it is what is minimised. Scalar. */
  readonly loss: Tensor;
  /** Sums for metrics, each a scalar. */
  readonly sums: Readonly<Record<string, Tensor>>;
}

/**
 * A step skeleton with its slots filled. `E` is an encoded example: a sequence, a pair.
 * The trainer owns everything else: order, micro-batches, gradients, clipping, updates, evaluation, files.
 */
export interface TrainStep<E> {
  /** Padded columns the example needs. */
  columns(example: E): number;
  /** What the example adds to the loss's denominator: its labels for a per-token mean, 1 for a per-sequence mean. */
  weight(example: E): number;
  /** Tokens read, for throughput. */
  tokens(example: E): number;
  /** Placeholders of a micro-batch of `rows` examples. */
  types(rows: number, columns: number): Readonly<Record<string, TensorType>>;
  /** Numbers for `types(rows, columns)`; missing rows must add nothing to any sum. */
  arrays(examples: readonly E[], rows: number, columns: number): Readonly<Record<string, HostArray>>;
  trace(policy: TracedPolicy, inputs: Readonly<Record<string, Tensor>>): StepSums;
  /** Other completions to learn from, sampled as training goes; left out, examples stay as they are. */
  readonly sampling?: BatchSampling<E>;
  /** Weights of frozen models that it reads besides, for estimates of memory. */
  readonly frozen?: readonly Parameters[];
  /** What the losses of a batch take from all of it; left out, each example's loss is its own. */
  readonly coupling?: Coupling<E>;
  /** How numbers of micro-batches become one where that is not their sum, by the name in `sums`. */
  readonly combine?: Readonly<Record<string, (a: number, b: number) => number>>;
  /** Metrics from the totals of `sums` over a batch. Names as TRL writes them. */
  summarize(totals: Readonly<Record<string, number>>): Record<string, number>;
}
