import { describe, expect, it } from 'vitest';
import { type OpRow, testOps } from '../../../test/support/op-rows.ts';
import { bool, empty, f32, i32, i64, points } from '../../../test/support/samples.ts';
import { lowerProgram } from '../../onnx/program-to-onnx.ts';
import { customGradient } from '../gradient.ts';
import { optimize } from '../optimize.ts';
import { trace } from '../program.ts';
import * as control from './control.ts';
import { add, exp, mul } from './elementwise.ts';

const { after, stopGradient } = control;
const nothing = Number.NaN;

const tripled = customGradient({
  forward: (x, y) => [mul(x!, y!), add(x!, y!)],
  backward: ([x], _outputs, [product, total]) => [mul(product!, 3), mul(total!, x!)],
});

const rows: readonly OpRow[] = [
  {
    title: 'stopGradient',
    covers: [stopGradient, control.stopGradientOp],
    apply: (x) => mul(stopGradient(x!), x!),
    inputs: [f32([2, -3])],
    outputs: [f32([4, 9])],
    // Half of that of x².
    slopes: [f32([2, -3])],
    agreeAt: [[f32([1e4])], [empty([0, 2])]],
  },
  {
    title: 'after',
    covers: [after, control.afterOp],
    apply: (x, y) => [after(x!, [y!, exp(y!)]), after(x!, [])],
    inputs: [f32([1, 2]), f32([[3], [4]])],
    outputs: [f32([1, 2]), f32([1, 2])],
    // None for what is only waited for.
    slopes: [f32([2, 2]), f32([[0], [0]])],
    gradientAt: [
      [points([2, 3], 1), points([2], 2)],
      [points([], 3), points([], 4)],
      [points([1], 5), empty([0, 3])],
    ],
    // The barrier is not taken for what it waits for: NaN and Infinity pass by.
    agreeAt: [
      [f32([1, nothing]), f32([nothing, 1])],
      [f32([1]), f32([Number.POSITIVE_INFINITY])],
    ],
  },
  {
    title: 'after of and for integers and booleans',
    covers: [],
    apply: (x, y, z) => [after(x!, [y!]), after(y!, [z!, x!]), after(z!, [x!])],
    inputs: [i64([1, 2]), i32([[3]]), bool([1, 0])],
    outputs: [i64([1, 2]), i32([[3]]), bool([1, 0])],
  },
  {
    title: 'custom',
    covers: [control.customOp],
    apply: (x, y) => tripled(x!, y!),
    inputs: [f32([2, 5]), f32([3, 7])],
    outputs: [f32([6, 35]), f32([5, 12])],
    // The rule, not the derivative: 3 and x.
    slopes: [f32([3, 3]), f32([2, 5])],
    agreeAt: [[f32([1e4]), f32([-1e4])]],
  },
];

testOps('control', control, rows);

describe('after', () => {
  const lowered = (withExp: boolean): readonly string[] => {
    const types = {
      x: { dtype: 'float32', shape: [2] },
      y: { dtype: 'float32', shape: [3] },
    } as const;
    const program = trace(types, ({ x, y }) => {
      const e = exp(y);
      const z = after(x, [e]);
      return withExp ? { z, e } : { z };
    });
    return lowerProgram(optimize(program)).nodes.map(({ opType }) => opType);
  };
  it('makes a node that needs what it waits for', () => {
    expect(lowered(true)).toEqual(['Exp', 'Reshape', 'Slice', 'Reshape', 'Equal', 'Where']);
  });
  it('does not wait for what nobody needs', () => {
    expect(lowered(false)).toEqual(['Identity']);
  });
});
