import { describe, expect, it } from 'vitest';
import { expectClose, sharedOrt } from '../../test/support/engines-agree.ts';
import { checkGradient, weightedSum } from '../../test/support/gradient-check.ts';
import { i32, points, type Sample, toArray } from '../../test/support/samples.ts';
import { sizeOf } from '../core/shapes.ts';
import { gradients } from '../graph/gradient.ts';
import { reachableNodes, trace } from '../graph/program.ts';
import type { Tensor } from '../graph/tensor.ts';
import { attention, causalAttention, causalMask, packedMask } from './attention.ts';

type Attend = typeof causalAttention;

/** Output of one of the two, and the gradient of a weighted sum of it by query, key and value. */
async function run(attend: Attend, T: number, segments?: readonly number[]) {
  const shapes = { query: [2, 4, T, 8], key: [2, 2, T, 8], value: [2, 2, T, 8] };
  const samples = Object.entries(shapes).map(([name, shape], i) => [name, points(shape, i + 1)] as const);
  const types: Record<string, Sample> = {
    ...Object.fromEntries(samples),
    ...(segments === undefined ? {} : { segments: i32([[...segments], [...segments]]) }),
  };
  const program = trace(types, (x) => {
    const inputs = [x.query!, x.key!, x.value!] as const;
    const mask = x.segments === undefined ? causalMask(T) : packedMask(x.segments);
    const y = attend(...inputs, mask);
    const [query, key, value] = gradients(weightedSum([y]), [...inputs]) as [Tensor, Tensor, Tensor];
    return { y, query, key, value };
  });
  const executable = await sharedOrt().compile(program);
  const arrays = Object.entries(types).map(([name, sample]) => [name, toArray(sample)]);
  return executable.run(Object.fromEntries(arrays));
}

describe('causalAttention', () => {
  // 64 is one block, 65 and 150 end in a short one, 256 has four.
  it.each([
    [64, undefined],
    [65, undefined],
    [150, undefined],
    [256, undefined],
    [130, Array.from({ length: 130 }, (_, t) => (t < 50 ? 1 : t < 120 ? 2 : 0))],
  ])('equals attention over the full square, gradients too (T = %i)', async (T, segments) => {
    const full = await run(attention, T, segments);
    const blocks = await run(causalAttention, T, segments);
    for (const [name, { data, shape }] of Object.entries(full)) {
      // Sums of up to 256 float32 products in another order.
      expectClose(name, blocks[name]!.data, data, shape, 5e-6);
    }
  });

  it('computes fewer scores: at four blocks, 5/8 of the softmaxed numbers', () => {
    const count = (attend: Attend): number => {
      const shape = [1, 1, 256, 4];
      const types = { q: points(shape), k: points(shape), v: points(shape) };
      const program = trace(types, ({ q, k, v }) => ({ y: attend(q!, k!, v!, causalMask(256)) }));
      const softmaxes = reachableNodes(program.outputs.map(({ tensor }) => tensor)).filter(
        ({ op }) => op.name === 'softmax',
      );
      return softmaxes.reduce((total, { outputs }) => total + sizeOf(outputs[0]!.shape), 0);
    };
    expect(count(causalAttention) / count(attention)).toBe(5 / 8);
  });
});

describe('attention', () => {
  it('has the gradient of central differences, with grouped heads', async () => {
    const inputs = [points([1, 4, 5, 3], 1), points([1, 2, 5, 3], 2), points([1, 2, 5, 3], 3)];
    await checkGradient((q, k, v) => attention(q!, k!, v!, causalMask(5)), inputs);
  });
});
