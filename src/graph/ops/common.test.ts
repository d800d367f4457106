import { describe, expect, it } from 'vitest';
import { type OpRow, testOps } from '../../../test/support/op-rows.ts';
import { bool, f32, i32, i64, placeholder } from '../../../test/support/samples.ts';
import { hostTensor } from '../../core/host-tensor.ts';
import * as common from './common.ts';
import { add, mul } from './elementwise.ts';

const { broadcastIndex, constant, constantLike, iota } = common;

const rows: readonly OpRow[] = [
  {
    title: 'constant',
    covers: [constant, common.constantOp],
    apply: (x) => [
      add(x!, constant(hostTensor(Float32Array.of(10, 20), [2]))),
      // float64 is stored as float32: 0.1 is 0.10000000149011612.
      mul(x!, constant(hostTensor(Float64Array.of(0.1), [1]))),
      constant(hostTensor(BigInt64Array.of(2n ** 40n), [1])),
      constant(hostTensor(Uint8Array.of(1, 0), [2])),
    ],
    inputs: [f32([1, 2])],
    outputs: [f32([11, 22]), f32([0.10000000149011612, 0.20000000298023224]), i64([2 ** 40]), bool([1, 0])],
    slopes: [f32([1.100000001490116, 1.100000001490116])],
  },
  {
    title: 'constantLike, filled',
    covers: [constantLike, common.fillOp],
    apply: (x, n, b) => [constantLike(x!, 0.5), constantLike(n!, 3), constantLike(b!, 1)],
    inputs: [f32([[1, 2]]), i64([1]), bool([0, 0])],
    outputs: [f32([[0.5, 0.5]]), i64([3]), bool([1, 1])],
    rejects: [
      [
        () => constantLike(placeholder([2], 'int64'), 0.5),
        /constant: expected an integer for int64, received 0\.5\. Convert the tensor it is combined with by cast/,
      ],
    ],
  },
  {
    title: 'iota',
    covers: [iota],
    apply: () => [iota(3), iota(2, 'int32'), iota(2, 'float32'), iota(1)],
    inputs: [],
    outputs: [i64([0, 1, 2]), i32([0, 1]), f32([0, 1]), i64([0])],
  },
];

const { constantOp, fillOp } = common;
testOps('common', { constant, constantLike, iota, constantOp, fillOp }, rows);

describe('broadcastIndex', () => {
  const all = (source: readonly number[], target: readonly number[], size: number): number[] =>
    Array.from({ length: size }, (_, i) => broadcastIndex(source, target)(i));
  it('maps each element of the target to the element it comes from', () => {
    expect(all([2, 3], [2, 3], 6)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(all([3], [2, 3], 6)).toEqual([0, 1, 2, 0, 1, 2]);
    expect(all([2, 1], [2, 3], 6)).toEqual([0, 0, 0, 1, 1, 1]);
    expect(all([1, 1], [2, 3], 6)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(all([2, 1, 2], [2, 2, 2], 8)).toEqual([0, 1, 0, 1, 2, 3, 2, 3]);
  });
});
