import { describe, expect, it } from 'vitest';
import { checkGradient, points } from '../../test/support/gradient-check.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { constant } from '../graph/ops/common.ts';
import { mul } from '../graph/ops/elementwise.ts';
import { matmul } from '../graph/ops/matmul.ts';
import { trace } from '../graph/program.ts';
import type { Tensor } from '../graph/tensor.ts';
import { conv1D, type LinearLayout, linear } from './linear.ts';
import { type LoraTensors, loraWeight } from './lora.ts';

const [B, I, O, R] = [3, 4, 5, 2];
const x = points([B, I], 1);
const down = points([R, I], 3);
const up = points([O, R], 4);
const magnitude = points([O], 5, 0.5, 2);
const weightOf = (layout: LinearLayout) => points(layout === 'out-in' ? [O, I] : [I, O], 2);
const apply = (layout: LinearLayout, input: Tensor, weight: Tensor): Tensor =>
  layout === 'out-in' ? linear(input, weight) : conv1D(input, weight);
/** Doubles the first feature and drops the second. */
const fixedDropout = (input: Tensor): Tensor => mul(input, dropRow(input.shape.at(-1)!));
const dropRow = (width: number): Tensor =>
  constant({
    dtype: 'float32',
    shape: [width],
    data: Float32Array.from({ length: width }, (_, i) => (i === 0 ? 2 : i === 1 ? 0 : 1)),
  });

const fixed = ({ shape, data }: { shape: readonly number[]; data: ArrayLike<number> }): Tensor =>
  constant({ dtype: 'float32', shape, data: Float32Array.from(data) });

const tensors = (inputs: Readonly<Record<string, Tensor>>, dora: boolean): LoraTensors => ({
  ...{ down: inputs.down!, up: inputs.up!, scale: 1.5 },
  ...(dora ? { magnitude: inputs.magnitude! } : {}),
});

describe.each(['out-in', 'in-out'] as const)('loraWeight, %s', (layout) => {
  it.each([
    ['LoRA', false],
    ['DoRA', true],
  ])('%s: the product is the product with its numbers', async (_name, dora) => {
    const names = ['x', 'weight', 'down', 'up', 'magnitude'] as const;
    const samples = [x, weightOf(layout), down, up, magnitude];
    const program = trace(
      Object.fromEntries(names.map((name, n) => [name, { dtype: 'float32', shape: samples[n]!.shape }])),
      (inputs) => {
        const adapted = loraWeight(inputs.weight!, layout, tensors(inputs, dora));
        return {
          apart: apply(layout, inputs.x!, adapted),
          merged: matmul(inputs.x!, adapted, { transposeB: layout === 'out-in' }),
          // Dropout that drops nothing.
          through: apply(
            layout,
            inputs.x!,
            loraWeight(inputs.weight!, layout, { ...tensors(inputs, dora), dropout: (input) => input }),
          ),
          base: apply(layout, inputs.x!, inputs.weight!),
        };
      },
    );
    const outputs = await (await createInterpreter().compile(program)).run(
      Object.fromEntries(names.map((name, n) => [name, Float64Array.from(samples[n]!.data)])),
    );
    const numbers = (name: string): number[] => Array.from(outputs[name]!.data as Float64Array);
    const [apart, merged, base] = [numbers('apart'), numbers('merged'), numbers('base')];
    const through = numbers('through');
    for (const [n, y] of apart.entries()) {
      expect(y).toBeCloseTo(merged[n]!, 12);
      expect(y).toBeCloseTo(through[n]!, 12);
    }
    expect(Math.max(...apart.map((y, n) => Math.abs(y - base[n]!)))).toBeGreaterThan(0.1);
  });

  it('has the gradient of central differences, with and without dropout', async () => {
    for (const dropout of [undefined, fixedDropout]) {
      await checkGradient(
        (input, weight, a, b) =>
          apply(
            layout,
            input!,
            loraWeight(weight!, layout, {
              ...{ down: a!, up: b!, scale: 1.5 },
              ...(dropout === undefined ? {} : { dropout }),
            }),
          ),
        [x, weightOf(layout), down, up],
      );
    }
  });

  it('DoRA has the gradient of central differences by input and magnitude', async () => {
    // The length is a constant to differentiation (section 4.3 of the paper), so that the gradient by A, B and W is not
    // that of the function: those are held fixed here.
    for (const dropout of [undefined, fixedDropout]) {
      await checkGradient(
        (input, m) =>
          apply(
            layout,
            input!,
            loraWeight(fixed(weightOf(layout)), layout, {
              ...{ down: fixed(down), up: fixed(up), scale: 1.5, magnitude: m! },
              ...(dropout === undefined ? {} : { dropout }),
            }),
          ),
        [x, magnitude],
      );
    }
  });
});

describe('DoRA', () => {
  it('scales each output row to its magnitude: the worked example', async () => {
    // W = [3 4], B A = 0: row length 5, magnitude 10, so y = 2·(3 + 4) for x = [1 1].
    const program = trace({ x: { dtype: 'float32', shape: [1, 2] } }, ({ x: input }) => ({
      y: linear(
        input,
        loraWeight(fixed({ shape: [1, 2], data: [3, 4] }), 'out-in', {
          down: fixed({ shape: [1, 2], data: [1, 1] }),
          up: fixed({ shape: [1, 1], data: [0] }),
          scale: 1,
          magnitude: fixed({ shape: [1], data: [10] }),
        }),
      ),
    }));
    const { y } = await (await createInterpreter().compile(program)).run({ x: Float64Array.of(1, 1) });
    expect(y!.data[0]).toBeCloseTo(14, 12);
  });
});
