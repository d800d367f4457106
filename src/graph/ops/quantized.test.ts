import { describe, it } from 'vitest';
import { enginesAgree, expectClose, sharedOrt } from '../../../test/support/engines-agree.ts';
import { checkGradient, gradientProgram } from '../../../test/support/gradient-check.ts';
import { testOps } from '../../../test/support/op-rows.ts';
import { f32, placeholder, points, type Sample, toArray, u8 } from '../../../test/support/samples.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { trace } from '../program.ts';
import type { Tensor } from '../tensor.ts';
import { constant } from './common.ts';
import { matmul } from './matmul.ts';
import * as quantized from './quantized.ts';

const bind = (inputs: readonly Sample[]) =>
  Object.fromEntries(inputs.map((x, index) => [`x${index}`, toArray(x)]));

const { blocksOf, dequantize, matmulNBits, quantizedZero } = quantized;

/** Bytes 0 … 255 in an order that meets every half. */
const bytes = (shape: readonly number[], seed: number): Sample => {
  const { data } = points(shape, seed, 0, 256);
  return { dtype: 'uint8', shape, data: Float64Array.from(data, Math.floor) };
};
const layouts = ([8, 4] as const).flatMap((bits) =>
  [16, 32].map((blockSize) => ({ bits, blockSize, columns: 40 })),
);
const one = { bits: 4, blockSize: 16, columns: 4 } as const;
/** A block of 16 halves of which four count: 1, 10, 8, 15. */
const block = u8([[[0xa1, 0xf8, 0, 0, 0, 0, 0, 0]]]);

testOps('quantized', quantized, [
  {
    title: 'dequantize: half bytes, the lower first, less 8, times the scale',
    covers: [dequantize, quantized.dequantizeOp, quantizedZero, blocksOf],
    apply: (packed, scales) => dequantize(packed!, scales!, one),
    inputs: [block, f32([[0.5]])],
    outputs: [f32([[-3.5, 1, 0, 3.5]])],
    rejects: [
      [
        () => dequantize(placeholder([1, 1, 8], 'uint8'), placeholder([1, 2]), one),
        /dequantize: expected packed \[N, 1, 8\] and scales \[N, 1\] for rows of 4, received \[1, 1, 8\] and \[1, 2\]/,
      ],
    ],
  },
  {
    title: 'matmulNBits: the product with the same numbers',
    covers: [matmulNBits, quantized.matmulNBitsOp],
    apply: (x, packed, scales) => matmulNBits(x!, packed!, scales!, one),
    inputs: [f32([[1, 2, 3, 4]]), block, f32([[0.5]])],
    outputs: [f32([[-3.5 + 2 + 14]])],
    rejects: [
      [
        () => matmulNBits(placeholder([2, 5]), placeholder([1, 1, 8], 'uint8'), placeholder([1, 1]), one),
        /matmulNBits\(x\): expected shape \[M, 4\], received \[2, 5\]/,
      ],
    ],
  },
]);

describe.each(layouts)('matmulNBits, %o, rows that end inside a block', (layout) => {
  const { blocks, bytes: width } = blocksOf(layout);
  const { shape, data } = points([5, blocks], 2, 0.01, 0.1);
  // The scales are constants of the model: they have no gradient.
  const scales = (): Tensor => constant({ dtype: 'float32', shape, data: Float32Array.from(data) });
  const inputs = [points([2, 3, 40], 3), bytes([5, blocks, width], 1)];
  const apply = (x: Tensor, packed: Tensor): Tensor => matmulNBits(x, packed, scales(), layout);
  const traced = (...xs: Tensor[]): Tensor => apply(xs[0]!, xs[1]!);

  it('has the gradient of central differences', () => checkGradient(traced, inputs));

  it('is the same in ONNX Runtime, forward and gradient', async () => {
    await enginesAgree(gradientProgram(traced, inputs), bind(inputs));
  });

  it('is the product with the dequantized rows', async () => {
    const program = trace(
      { x: { dtype: 'float32', shape: [2, 3, 40] }, packed: { dtype: 'uint8', shape: [5, blocks, width] } },
      ({ x, packed }) => ({
        direct: apply(x, packed),
        through: matmul(x, dequantize(packed, scales(), layout), { transposeB: true }),
      }),
    );
    const given = { x: toArray(inputs[0]!), packed: toArray(inputs[1]!) };
    for (const engine of [createInterpreter(), sharedOrt()]) {
      const { direct, through } = await (await engine.compile(program)).run(given);
      expectClose('direct', direct!.data, through!.data, [2, 3, 5], 2e-6);
    }
  });
});
