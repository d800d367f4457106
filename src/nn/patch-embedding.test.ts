import { describe, expect, it } from 'vitest';
import { enginesAgree } from '../../test/support/engines-agree.ts';
import { checkGradient } from '../../test/support/gradient-check.ts';
import { placeholder, points, toArray } from '../../test/support/samples.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { trace } from '../graph/program.ts';
import { patchEmbedding } from './patch-embedding.ts';

const pixels = points([2, 3, 4, 6], 1);
const kernel = points([5, 3, 2, 2], 2);
const bias = points([5], 3);

describe('patchEmbedding', () => {
  const program = trace({ pixels, kernel, bias }, (x) => ({
    y: patchEmbedding(x.pixels!, x.kernel!, x.bias!),
  }));
  const inputs = { pixels: toArray(pixels), kernel: toArray(kernel), bias: toArray(bias) };

  it('is the sum over channel, row and column of a convolution with stride P', async () => {
    const { y } = await (await createInterpreter().compile(program)).run(inputs);
    expect(y!.shape).toEqual([2, 6, 5]);
    const at = (b: number, c: number, h: number, w: number): number =>
      Number(inputs.pixels[((b * 3 + c) * 4 + h) * 6 + w]);
    for (let b = 0; b < 2; b++) {
      for (let n = 0; n < 6; n++) {
        for (let d = 0; d < 5; d++) {
          let sum = Number(inputs.bias[d]);
          for (let c = 0; c < 3; c++) {
            for (let i = 0; i < 2; i++) {
              for (let j = 0; j < 2; j++) {
                const pixel = at(b, c, 2 * Math.floor(n / 3) + i, 2 * (n % 3) + j);
                sum += pixel * Number(inputs.kernel[((d * 3 + c) * 2 + i) * 2 + j]);
              }
            }
          }
          // Interpreter in float64 over inputs rounded to float32: sums of 13 products agree to rounding.
          expect(Number(y!.data[(b * 6 + n) * 5 + d])).toBeCloseTo(sum, 5);
        }
      }
    }
  });

  it('agrees between engines and has the gradient of central differences', async () => {
    await enginesAgree(program, inputs);
    await checkGradient((x, k, b) => patchEmbedding(x!, k!, b!), [pixels, kernel, bias]);
  });

  it('refuses a kernel of other channels or that is not square', () => {
    const x = placeholder([1, 3, 4, 4]);
    expect(() => patchEmbedding(x, placeholder([5, 1, 2, 2]))).toThrow(/patchEmbedding/);
    expect(() => patchEmbedding(x, placeholder([5, 3, 2, 4]))).toThrow(/patchEmbedding/);
  });
});
