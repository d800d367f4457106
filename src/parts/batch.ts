/** Encoded examples → the fixed-shape arrays of one micro-batch, with labels already lined up. */
import { ShapeError } from '../core/errors.ts';
import type { HostArray } from '../core/host-tensor.ts';
import type { Tensor, TensorType } from '../graph/tensor.ts';

/** A token sequence with what to learn from it. */
export interface TokenExample {
  readonly ids: ArrayLike<number>;
  /** 1 where the token itself is learned (predicted from those before it), same length as `ids`. */
  readonly mask: ArrayLike<number>;
  /** Position of each token; 0, 1, 2, … when left out. */
  readonly positions?: ArrayLike<number>;
  /** Which packed example each token belongs to (1, 2, …); tokens attend within equal numbers only. */
  readonly segments?: ArrayLike<number>;
}

/** Placeholders of a micro-batch. Column t predicts `labels[t]`, the token after `ids[t]`. */
export interface TokenInputs {
  readonly ids: Tensor; // int64 [B, T]
  readonly labels: Tensor; // int64 [B, T]
  readonly mask: Tensor; // float32 [B, T], 1 = the label counts
  readonly positions: Tensor; // int64 [B, T]
  readonly segments?: Tensor; // int32 [B, T]
}

/** Columns a sequence of `tokens` tokens needs: one less than its tokens, since the last is only a label. */
export const columnsOf = (tokens: number): number => Math.max(tokens - 1, 1);

/** The next multiple of `multiple`. */
export const bucketOf = (columns: number, multiple: number): number =>
  Math.ceil(columns / multiple) * multiple;

/** Types of the placeholders of `rows` × `columns`. */
export function tokenTypes(rows: number, columns: number, packed: boolean): Record<string, TensorType> {
  const shape = [rows, columns];
  return {
    ids: { dtype: 'int64', shape },
    labels: { dtype: 'int64', shape },
    mask: { dtype: 'float32', shape },
    positions: { dtype: 'int64', shape },
    ...(packed ? { segments: { dtype: 'int32' as const, shape } } : {}),
  };
}

/**
 * Right-padded arrays for `tokenTypes(rows, columns, packed)`. Missing rows and columns have mask 0, so they change no
 * loss; padding repeats token 0, whose value does not matter.
 *
 * @throws ShapeError when an example needs more columns, or there are more examples than rows
 */
export function tokenArrays(
  examples: readonly TokenExample[],
  rows: number,
  columns: number,
  packed: boolean,
): Record<string, HostArray> {
  if (examples.length > rows) {
    throw new ShapeError({
      where: 'tokenArrays',
      expected: `at most ${rows} examples`,
      received: `${examples.length}`,
    });
  }
  const size = rows * columns;
  const ids = new BigInt64Array(size);
  const labels = new BigInt64Array(size);
  const mask = new Float32Array(size);
  const positions = new BigInt64Array(size);
  const segments = new Int32Array(packed ? size : 0);
  examples.forEach((example, row) => {
    const tokens = example.ids.length;
    if (columnsOf(tokens) > columns) {
      throw new ShapeError({
        where: 'tokenArrays',
        expected: `examples of at most ${columns + 1} tokens`,
        received: `${tokens} tokens`,
      });
    }
    for (let t = 0; t + 1 < tokens; t++) {
      const at = row * columns + t;
      const sameSegment = example.segments === undefined || example.segments[t] === example.segments[t + 1];
      ids[at] = BigInt(example.ids[t]!);
      labels[at] = BigInt(example.ids[t + 1]!);
      mask[at] = sameSegment ? example.mask[t + 1]! : 0;
      positions[at] = BigInt(example.positions?.[t] ?? t);
      if (packed) segments[at] = example.segments?.[t] ?? 1;
    }
  });
  return packed ? { ids, labels, mask, positions, segments } : { ids, labels, mask, positions };
}

/** Placeholders of whole sequences that are read, not predicted: every token has a column. */
export interface SequenceInputs {
  readonly ids: Tensor; // int64 [B, T]
  readonly positions: Tensor; // int64 [B, T]
  readonly last: Tensor; // int64 [B], flat index of the last real token
}

/** Types of the placeholders of `rows` whole sequences of at most `columns` tokens. */
export function sequenceTypes(rows: number, columns: number): Record<string, TensorType> {
  const shape = [rows, columns];
  return {
    ids: { dtype: 'int64', shape },
    positions: { dtype: 'int64', shape },
    last: { dtype: 'int64', shape: [rows] },
  };
}

/**
 * Right-padded arrays for `sequenceTypes(rows, columns)`. Missing rows read their own first column.
 *
 * @throws ShapeError when a sequence is empty or longer than `columns`, or there are more sequences than rows
 */
export function sequenceArrays(
  sequences: readonly ArrayLike<number>[],
  rows: number,
  columns: number,
): Record<string, HostArray> {
  const bad = sequences.find(({ length }) => length === 0 || length > columns);
  if (bad !== undefined || sequences.length > rows) {
    throw new ShapeError({
      where: 'sequenceArrays',
      expected: `at most ${rows} sequences of 1 to ${columns} tokens`,
      received: bad === undefined ? `${sequences.length} sequences` : `one of ${bad.length} tokens`,
    });
  }
  const ids = new BigInt64Array(rows * columns);
  const positions = BigInt64Array.from(ids, (_, i) => BigInt(i % columns));
  const last = BigInt64Array.from({ length: rows }, (_, row) =>
    BigInt(row * columns + Math.max((sequences[row]?.length ?? 0) - 1, 0)),
  );
  sequences.forEach((sequence, row) => {
    for (let t = 0; t < sequence.length; t++) ids[row * columns + t] = BigInt(sequence[t]!);
  });
  return { ids, positions, last };
}

/** Labels of an example that count: its contribution to a per-token mean. */
export function countLabels(example: TokenExample): number {
  let count = 0;
  for (let t = 1; t < example.ids.length; t++) {
    const sameSegment = example.segments === undefined || example.segments[t - 1] === example.segments[t];
    if (sameSegment) count += example.mask[t]!;
  }
  return count;
}
