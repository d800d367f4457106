/** Which examples make up each optimizer step, and how a step is cut into micro-batches. */
import type { Rng } from '../core/rng.ts';
import { bucketOf } from './batch.ts';

/** Columns are padded to a multiple of this many tokens. */
export const columnBucket = 16;

/** Examples of one forward pass, padded to a common number of columns. */
export interface MicroBatch<E> {
  readonly examples: readonly E[];
  readonly rows: number;
  readonly columns: number;
}

/** Steps in one pass over the data; the last may be smaller. */
export const stepsPerEpoch = (examples: number, batchSize: number): number => Math.ceil(examples / batchSize);

/**
 * Indices of the examples of optimizer step `step` (0-based), in the order of a fresh permutation per epoch.
 * A function of (seed, step) alone, so a resumed run sees the same batches.
 */
export function batchIndices(
  rng: Rng,
  examples: number,
  batchSize: number,
  step: number,
  shuffle: boolean,
): number[] {
  const perEpoch = stepsPerEpoch(examples, batchSize);
  const epoch = Math.floor(step / perEpoch);
  const start = (step % perEpoch) * batchSize;
  const order = shuffle ? rng.split('order').permutation(examples, epoch) : undefined;
  const end = Math.min(start + batchSize, examples);
  return Array.from({ length: end - start }, (_, i) => order?.[start + i] ?? start + i);
}

/**
 * Cuts a batch into micro-batches of at most `microBatchSize` examples of similar length, each padded to a multiple of
 * `bucket` columns, longest first (so that a batch that does not fit in memory fails at once).
 */
export function microBatches<E>(
  examples: readonly E[],
  columns: (example: E) => number,
  microBatchSize: number,
  bucket: number,
): MicroBatch<E>[] {
  const sorted = [...examples].sort((a, b) => columns(b) - columns(a));
  const batches: MicroBatch<E>[] = [];
  for (let start = 0; start < sorted.length; start += microBatchSize) {
    const part = sorted.slice(start, start + microBatchSize);
    batches.push({ examples: part, rows: microBatchSize, columns: bucketOf(columns(part[0]!), bucket) });
  }
  return batches;
}
