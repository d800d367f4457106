/** Examples of similar length in fixed shapes. */
import { ShapeError } from '../core/errors.ts';
import type { Rng } from '../core/rng.ts';

/** The smallest multiple of `multiple` that holds `n` tokens, at least one. */
export function lengthBucket(n: number, multiple: number): number {
  return Math.max(1, Math.ceil(n / multiple)) * multiple;
}

/** What `collate` reads of an example. */
export interface Sequence {
  readonly ids: ArrayLike<number>;
  readonly mask: ArrayLike<number>;
  /** Default 0, 1, 2, … */
  readonly positions?: ArrayLike<number>;
  /** Of packed sequences: 0 = padding, 1 … n = which example. */
  readonly segments?: ArrayLike<number>;
}

/** Right-padded arrays, row-major. */
export interface Batch {
  readonly rows: number;
  readonly length: number;
  /** [B, T], padded with `padId` */
  readonly ids: Int32Array;
  /** [B, T], 0 on padding */
  readonly mask: Float32Array;
  /** [B, T], 0 on padding */
  readonly positions: Int32Array;
  /** [B, T], 0 on padding; of a sequence that is not packed, 1 on its tokens */
  readonly segments: Int32Array;
}

/**
 * Pads examples on the right to `length` tokens.
 *
 * @param options `length`: tokens per row; `padId`: any id of the vocabulary, its mask is 0; `rows`: of the result, by default
 *   as many as examples, the rest all padding
 * @throws ShapeError when an example is longer, or there are more examples than rows
 */
export function collate(
  examples: readonly Sequence[],
  options: { readonly length: number; readonly padId: number; readonly rows?: number },
): Batch {
  const { length, padId, rows = examples.length } = options;
  if (examples.length > rows) {
    throw new ShapeError({
      where: 'collate',
      expected: `at most ${rows} examples`,
      received: `${examples.length}`,
    });
  }
  const size = rows * length;
  const ids = new Int32Array(size).fill(padId);
  const mask = new Float32Array(size);
  const positions = new Int32Array(size);
  const segments = new Int32Array(size);
  for (const [row, example] of examples.entries()) {
    const tokens = example.ids.length;
    if (tokens > length) {
      throw new ShapeError({
        where: `collate, example ${row + 1}`,
        expected: `at most ${length} tokens`,
        received: `${tokens}`,
        fix: 'Encode with a smaller maxLength or use a longer bucket',
      });
    }
    const at = row * length;
    ids.set(example.ids, at);
    mask.set(example.mask, at);
    for (let t = 0; t < tokens; t++) {
      positions[at + t] = example.positions?.[t] ?? t;
      segments[at + t] = example.segments?.[t] ?? 1;
    }
  }
  return { rows, length, ids, mask, positions, segments };
}

/** Which examples go together, and to how many tokens they are padded. */
export interface BucketBatch {
  readonly indices: readonly number[];
  readonly length: number;
}

/**
 * Batches of examples that share a length bucket, so that little is padding. With `rng`, examples are shuffled within
 * their bucket and batches among each other, anew for each epoch; without, batches come by length, examples in order.
 *
 * @param lengths tokens of each example
 * @param options `batchSize`: most examples of a batch; `multiple`: of bucket lengths
 */
export function bucketBatches(
  lengths: readonly number[],
  options: {
    readonly batchSize: number;
    readonly multiple: number;
    readonly rng?: Rng;
    readonly epoch?: number;
  },
): BucketBatch[] {
  const { batchSize, multiple, rng, epoch = 0 } = options;
  const order = rng?.split('examples').permutation(lengths.length, epoch) ?? lengths.map((_, index) => index);
  const buckets = new Map<number, number[]>();
  for (const index of order) {
    const length = lengthBucket(lengths[index]!, multiple);
    const bucket = buckets.get(length);
    if (bucket === undefined) buckets.set(length, [index]);
    else bucket.push(index);
  }
  const batches: BucketBatch[] = [];
  for (const [length, indices] of [...buckets].sort(([a], [b]) => a - b)) {
    for (let start = 0; start < indices.length; start += batchSize) {
      batches.push({ indices: indices.slice(start, start + batchSize), length });
    }
  }
  if (rng === undefined) return batches;
  return Array.from(rng.split('batches').permutation(batches.length, epoch), (index) => batches[index]!);
}
