/** Products with matrices of few bits per weight: blocks of integers with a scale each, as ONNX Runtime's MatMulNBits has them. */
import { ShapeError } from '../../core/errors.ts';
import { formatShape, sizeOf } from '../../core/shapes.ts';
import type { Lowering } from '../lowering.ts';
import { applyOne, type Op, type Tensor, type TensorType, type Value } from '../tensor.ts';
import { requireDType, value } from './common.ts';
import { after } from './control.ts';
import { matmul } from './matmul.ts';
import { reshape } from './shape.ts';

/** Bits per weight. */
export type QuantizedBits = 4 | 8;

export interface QuantizedLayout {
  readonly bits: QuantizedBits;
  /** Weights that share a scale: neighbours in a row. A power of two from 16 on. */
  readonly blockSize: number;
  /** K: weights in a row. The last block of a row may be longer than what is left of it. */
  readonly columns: number;
}

/** What stands for 0: integers are stored without sign. */
export const quantizedZero = (bits: QuantizedBits): number => 2 ** (bits - 1);

/** Blocks of a row, and bytes of a block. */
export function blocksOf({ bits, blockSize, columns }: QuantizedLayout): { blocks: number; bytes: number } {
  return { blocks: Math.ceil(columns / blockSize), bytes: (blockSize * bits) / 8 };
}

function check(where: string, packed: TensorType, scales: TensorType, layout: QuantizedLayout): number {
  requireDType(`${where}(packed)`, packed, ['uint8']);
  requireDType(`${where}(scales)`, scales, ['float32']);
  const { blocks, bytes } = blocksOf(layout);
  const [N, ...rest] = packed.shape;
  if (rest[0] !== blocks || rest[1] !== bytes || scales.shape[0] !== N || scales.shape[1] !== blocks) {
    throw new ShapeError({
      where,
      expected: `packed [N, ${blocks}, ${bytes}] and scales [N, ${blocks}] for rows of ${layout.columns}`,
      received: `${formatShape(packed.shape)} and ${formatShape(scales.shape)}`,
      fix: 'Pass what quantizeMatrix gave, with its layout',
    });
  }
  return N!;
}

/** Integers of a row block by block; in a byte of two, the first is the lower half. */
function numbers(packed: Value, scales: Value, layout: QuantizedLayout): Float64Array {
  const { bits, blockSize, columns } = layout;
  const { blocks, bytes } = blocksOf(layout);
  const rows = packed.shape[0]!;
  const out = new Float64Array(rows * columns);
  const zero = quantizedZero(bits);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < columns; k++) {
      const block = row * blocks + Math.floor(k / blockSize);
      const inside = k % blockSize;
      const byte = packed.data[block * bytes + Math.floor((inside * bits) / 8)]!;
      const stored = bits === 8 ? byte : inside % 2 === 0 ? byte % 16 : Math.floor(byte / 16);
      out[row * columns + k] = (stored - zero) * scales.data[block]!;
    }
  }
  return out;
}

/** packed uint8 [N, blocks, bytes], scales float32 [N, blocks] → float32 [N, K]. No gradient: integers do not move. */
export const dequantizeOp: Op<QuantizedLayout> = {
  name: 'dequantize',
  infer([packed, scales], layout) {
    const N = check('dequantize', packed!, scales!, layout);
    return [{ dtype: 'float32', shape: [N, layout.columns] }];
  },
  evaluate: ([packed, scales], layout, [y]) => [value(numbers(packed!, scales!, layout), y!.shape)],
  gradient: () => [undefined, undefined],
  lower(lowering, [packed, scales], { attributes, outputs: [y] }) {
    const { bits, blockSize, columns } = attributes;
    const N = y!.shape[0]!;
    const { blocks } = blocksOf(attributes);
    const stored = bits === 8 ? packed! : halves(lowering, packed!, [N, blocks, blockSize]);
    const [asFloat] = lowering.node('Cast', [stored], { attributes: { to: { int: 1 } } });
    const [centred] = lowering.node('Sub', [asFloat!, lowering.scalar(quantizedZero(bits), 'float32')]);
    const [perBlock] = lowering.node('Reshape', [scales!, lowering.ints([N, blocks, 1])]);
    const [scaled] = lowering.node('Mul', [centred!, perBlock!]);
    const [rows] = lowering.node('Reshape', [scaled!, lowering.ints([N, blocks * blockSize])]);
    if (blocks * blockSize === columns) return [rows!];
    return lowering.node('Slice', [rows!, lowering.ints([0]), lowering.ints([columns]), lowering.ints([1])]);
  },
};

/** Lower and upper halves of bytes, next to each other. */
function halves(lowering: Lowering, packed: string, shape: readonly number[]): string {
  const bytes = [...shape.slice(0, -1), shape.at(-1)! / 2, 1];
  const last = (name: string): string => lowering.node('Reshape', [name, lowering.ints(bytes)])[0]!;
  const [low] = lowering.node('BitwiseAnd', [packed, lowering.scalar(15, 'uint8')]);
  const [high] = lowering.node('BitShift', [packed, lowering.scalar(4, 'uint8')], {
    attributes: { direction: { string: 'RIGHT' } },
  });
  const [both] = lowering.node('Concat', [last(low!), last(high!)], { attributes: { axis: { int: -1 } } });
  return lowering.node('Reshape', [both!, lowering.ints(shape)])[0]!;
}

/** Row-major weights [N, K] of packed ones, as numbers. */
export const dequantize = (packed: Tensor, scales: Tensor, layout: QuantizedLayout): Tensor =>
  applyOne(dequantizeOp, [packed, scales], layout);

/** x [M, K] times the transpose of packed weights [N, K] → [M, N]. */
export const matmulNBitsOp: Op<QuantizedLayout> = {
  name: 'matmulNBits',
  infer([x, packed, scales], layout) {
    requireDType('matmulNBits(x)', x!, ['float32']);
    const N = check('matmulNBits', packed!, scales!, layout);
    if (x!.shape.length !== 2 || x!.shape[1] !== layout.columns) {
      throw new ShapeError({
        where: 'matmulNBits(x)',
        expected: `shape [M, ${layout.columns}]`,
        received: formatShape(x!.shape),
        fix: 'Pass rows as long as those of the weights',
      });
    }
    return [{ dtype: 'float32', shape: [x!.shape[0]!, N] }];
  },
  evaluate([x, packed, scales], layout, [y]) {
    const weights = numbers(packed!, scales!, layout);
    const [M, N] = y!.shape as [number, number];
    const K = layout.columns;
    const out = new Float64Array(M * N);
    for (let m = 0; m < M; m++) {
      for (let n = 0; n < N; n++) {
        let total = 0;
        for (let k = 0; k < K; k++) total += x!.data[m * K + k]! * weights[n * K + k]!;
        out[m * N + n] = total;
      }
    }
    return [value(out, y!.shape)];
  },
  // The weights are unpacked when the gradient arrives, one layer at a time.
  gradient: ({ inputs: [, packed, scales], cotangents: [g], attributes }) => [
    matmul(g!, dequantize(after(packed!, [g!]), scales!, attributes)),
    undefined,
    undefined,
  ],
  lower(lowering, inputs, { attributes: { bits, blockSize, columns }, inputs: [x, packed], outputs: [y] }) {
    if (sizeOf(x!.shape) === 0)
      return lowering.node('Expand', [lowering.scalar(0, 'float32'), lowering.ints(y!.shape)]);
    return lowering.node('MatMulNBits', inputs, {
      domain: 'com.microsoft',
      attributes: {
        ...{ K: { int: columns }, N: { int: packed!.shape[0]! }, bits: { int: bits } },
        // 1: sums in float32, whatever the machine could do with 8-bit inputs.
        ...{ block_size: { int: blockSize }, accuracy_level: { int: 1 } },
      },
    });
  },
};

/**
 * x Wᵀ for packed weights W [N, K].
 *
 * @param x [..., K]
 * @param packed uint8 [N, blocks, bytes of a block]
 * @param scales float32 [N, blocks]
 * @returns [..., N]
 * @throws ShapeError when the shapes do not belong together
 */
export function matmulNBits(x: Tensor, packed: Tensor, scales: Tensor, layout: QuantizedLayout): Tensor {
  const lead = x.shape.slice(0, -1);
  const flat = x.rank === 2 ? x : reshape(x, [sizeOf(lead), x.shape.at(-1)!]);
  const y = applyOne(matmulNBitsOp, [flat, packed, scales], layout);
  return x.rank === 2 ? y : reshape(y, [...lead, y.shape[1]!]);
}
