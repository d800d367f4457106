import { expect, it } from 'vitest';
import { sharedOrt } from '../../../test/support/engines-agree.ts';
import { type OpRow, testOps } from '../../../test/support/op-rows.ts';
import { f32, i64, placeholder, points } from '../../../test/support/samples.ts';
import { trace } from '../program.ts';
import type { Tensor } from '../tensor.ts';
import * as family from './cached-attention.ts';
import { slice } from './shape.ts';

const { cachedAttention } = family;

/** The mixture, and the positions of the caches that are defined when every row has `filled` tokens after the store. */
const outputs =
  (filled: number) =>
  (query?: Tensor, ...[key, value, pastKey, pastValue, lengths]: Tensor[]) => {
    const past = { key: pastKey!, value: pastValue! };
    const after = cachedAttention(query!, key!, value!, past, lengths!);
    const [B, K, , E] = after.key.shape as [number, number, number, number];
    const kept = (x: Tensor): Tensor => slice(x, [0, 0, 0, 0], [B, K, filled, E]);
    return [after.mixed, kept(after.key), kept(after.value)];
  };

/** One head of size 8 whose vectors begin with these numbers. */
const head = (...vectors: number[][]) => f32([[vectors.map(widen)]]);
const widen = (vector: number[]): number[] => [...vector, ...new Array<number>(8 - vector.length).fill(0)];
const type = (...shape: number[]) => placeholder(shape);

const rows: readonly OpRow[] = [
  {
    title: 'cachedAttention',
    covers: [cachedAttention, family.cachedAttentionOp],
    apply: outputs(2),
    // Scores √8·log 3 / √8 = log 3 for the cached key and 0 for the new one: weights 3/4 and 1/4. Position 2 is not read.
    inputs: [
      head([Math.sqrt(8) * Math.log(3), 0]),
      head([0, 1]),
      head([8, 0]),
      head([1, 0], [0, 0], [0, 0]),
      head([4, 4], [9, 9], [7, 7]),
      i64([1]),
    ],
    outputs: [head([5, 3]), head([1, 0], [0, 1]), head([4, 4], [8, 0])],
    agreeAt: [
      [
        points([2, 4, 1, 8], 1),
        points([2, 2, 1, 8], 2),
        points([2, 2, 1, 8], 3),
        points([2, 2, 5, 8], 4),
        points([2, 2, 5, 8], 5),
        i64([3, 1]),
      ],
      [
        points([2, 2, 1, 8], 1, -30, 30),
        points([2, 2, 1, 8], 2, -30, 30),
        points([2, 2, 1, 8], 3),
        points([2, 2, 4, 8], 4, -30, 30),
        points([2, 2, 4, 8], 5),
        i64([1, 3]),
      ],
    ],
    // exp of scores up to 900 in float32 arithmetic.
    tolerance: 1e-5,
    rejects: [
      [
        () =>
          cachedAttention(
            type(1, 3, 1, 8),
            type(1, 2, 1, 8),
            type(1, 2, 1, 8),
            { key: type(1, 2, 8, 8), value: type(1, 2, 8, 8) },
            placeholder([1], 'int64'),
          ),
        /key heads that divide the query heads, received query \[1, 3, 1, 8\]/,
      ],
    ],
  },
];

testOps('cached-attention', family, rows);

it('extends a cache that is bound as input and output, and leaves the rest of it alone', async () => {
  const shape = (...sizes: number[]) => ({ dtype: 'float32', shape: sizes }) as const;
  const floats = (...vectors: number[][]) => Float32Array.from(vectors.flatMap(widen));
  const program = trace(
    {
      q: shape(1, 1, 1, 8),
      k: shape(1, 1, 1, 8),
      v: shape(1, 1, 1, 8),
      keys: shape(1, 1, 4, 8),
      values: shape(1, 1, 4, 8),
      lengths: { dtype: 'int64', shape: [1] },
    },
    ({ q, k, v, keys, values, lengths }) => {
      const { mixed, key, value } = cachedAttention(q, k, v, { key: keys, value: values }, lengths);
      return { mixed, key, value };
    },
  );
  const keys = floats([1, 0], [5, 5], [6, 6], [7, 7]);
  const values = floats([4, 4], [9, 9], [8, 8], [7, 7]);
  const executable = await sharedOrt().compile(program);
  const inputs = {
    q: floats([0, 0]),
    k: floats([2, 3]),
    v: floats([0, 2]),
    keys,
    values,
    lengths: BigInt64Array.of(1n),
  };
  const { mixed } = await executable.run(inputs, { key: keys, value: values });
  // Scores 0 and 0: the mean of [4, 4] and [0, 2].
  expect(mixed!.data).toEqual(floats([2, 3]));
  expect(keys).toEqual(floats([1, 0], [2, 3], [6, 6], [7, 7]));
  expect(values).toEqual(floats([4, 4], [0, 2], [8, 8], [7, 7]));
  executable.dispose();
});
