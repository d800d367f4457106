import { describe, expect, it } from 'vitest';
import { expectClose, sharedOrt } from '../../test/support/engines-agree.ts';
import { checkGradient, weightedSum } from '../../test/support/gradient-check.ts';
import { i32, points, type Sample, toArray } from '../../test/support/samples.ts';
import { sizeOf } from '../core/shapes.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { gradients } from '../graph/gradient.ts';
import { constant } from '../graph/ops/common.ts';
import { reachableNodes, trace } from '../graph/program.ts';
import type { Tensor } from '../graph/tensor.ts';
import { attention, cacheMask, causalAttention, causalMask, packedMask } from './attention.ts';

type Attend = (query: Tensor, key: Tensor, value: Tensor, mask: Tensor) => Tensor;

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

  it('equals attention with a window, scale and cap, and passes over the keys before the window', async () => {
    for (const window of [1, 40, 100]) {
      const options = { scale: 0.5, cap: 1.5 };
      const full = await run((q, k, v) => attention(q, k, v, causalMask(150, window), options), 150);
      const blocks = await run(
        (q, k, v) => causalAttention(q, k, v, causalMask(150, window), { ...options, window }),
        150,
      );
      for (const [name, { data, shape }] of Object.entries(full))
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

describe('masks', () => {
  const seen = async (mask: () => Tensor): Promise<number[][]> => {
    const program = trace({}, () => ({ mask: mask() }));
    const { data, shape } = (await (await createInterpreter().compile(program)).run({})).mask!;
    const width = shape.at(-1)!;
    const row = (t: number) => [...Array(width).keys()].filter((s) => Number(data[t * width + s]) === 0);
    return [...Array(data.length / width).keys()].map(row);
  };

  it('with a window of 2 show the token itself and the one before', async () => {
    expect(await seen(() => causalMask(4, 2))).toEqual([[0], [0, 1], [1, 2], [2, 3]]);
    // Segments 1 1 1 2 2: the fourth token is the first of its own.
    const segments = () => constant({ dtype: 'int32', shape: [1, 5], data: Int32Array.of(1, 1, 1, 2, 2) });
    expect(await seen(() => packedMask(segments(), 2))).toEqual([[0], [0, 1], [1, 2], [3], [3, 4]]);
  });

  it('of a cache with a window of 3 count back from the new tokens, which stand at 4 and 5', async () => {
    // Token 4 sees 2, 3 and itself; token 5 sees 3, 4 and itself, of which 4 is not in the cache.
    const lengths = () => constant({ dtype: 'int64', shape: [1], data: BigInt64Array.of(4n) });
    expect(await seen(() => cacheMask(lengths(), 6, { window: 3, T: 2 }))).toEqual([[2, 3], [3]]);
    expect(await seen(() => cacheMask(lengths(), 6))).toEqual([[0, 1, 2, 3]]);
  });
});

describe('attention', () => {
  it('scales and caps scores before the mask: two keys, score 4 bent to 2·tanh(2)', async () => {
    // q = (2, 0), keys (1, 0) and (0, 1), scale 2, cap 2: scores 2·tanh(2) = 1.928 and 0; values 1 and 0.
    const sample = (shape: number[], data: number[]): Sample => ({ dtype: 'float32', shape, data });
    const q = sample([1, 1, 1, 2], [2, 0]);
    const k = sample([1, 1, 2, 2], [1, 0, 0, 1]);
    const v = sample([1, 1, 2, 2], [1, 0, 0, 0]);
    const program = trace({ q, k, v }, (x) => {
      const open = constant({ dtype: 'float32', shape: [1, 2], data: Float32Array.of(0, 0) });
      return { y: attention(x.q!, x.k!, x.v!, open, { scale: 2, cap: 2 }) };
    });
    const executable = await createInterpreter().compile(program);
    const { y } = await executable.run({ q: toArray(q), k: toArray(k), v: toArray(v) });
    expect(Number(y!.data[0])).toBeCloseTo(1 / (1 + Math.exp(-2 * Math.tanh(2))), 12);
  });

  it('has the gradient of central differences, with grouped heads', async () => {
    const inputs = [points([1, 4, 5, 3], 1), points([1, 2, 5, 3], 2), points([1, 2, 5, 3], 3)];
    await checkGradient((q, k, v) => attention(q!, k!, v!, causalMask(5)), inputs);
  });
});
