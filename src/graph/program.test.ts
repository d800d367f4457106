import { describe, expect, it } from 'vitest';
import { hostTensor } from '../core/host-tensor.ts';
import { gradients } from './gradient.ts';
import { constant, iota } from './ops/common.ts';
import { add, exp, mul, where } from './ops/elementwise.ts';
import { sum, topK } from './ops/reduce.ts';
import { optimize } from './optimize.ts';
import { input, inputOp, printProgram, reachableNodes, trace } from './program.ts';
import { softplus } from './stable.ts';

const matrix = { dtype: 'float32', shape: [2, 3] } as const;
const scalar = { dtype: 'float32', shape: [] } as const;

describe('trace', () => {
  it('keeps the names and the order of inputs and outputs, used or not', () => {
    const program = trace({ b: scalar, a: matrix }, ({ a }) => ({ z: a, y: sum(a) }));
    expect(program.inputs.map(({ name, tensor }) => `${name}: ${tensor}`)).toEqual([
      'b: float32[]',
      'a: float32[2, 3]',
    ]);
    expect(program.outputs.map(({ name, tensor }) => `${name}: ${tensor}`)).toEqual([
      'z: float32[2, 3]',
      'y: float32[]',
    ]);
  });
});

describe('reachableNodes', () => {
  it('lists what the outputs need once each, inputs before users', () => {
    const x = input('x', matrix);
    const y = exp(x);
    exp(y); // not needed
    const z = add(mul(y, y), x);
    expect(reachableNodes([z, y]).map((node) => node.op.name)).toEqual(['input', 'exp', 'mul', 'add']);
  });
});

describe('printProgram', () => {
  it('numbers the nodes and shows attributes, operands and types', () => {
    const program = trace({ x: matrix }, ({ x }) => ({ y: sum(mul(x, x), { axes: -1 }), x }));
    expect(printProgram(program)).toBe(
      [
        '%0 = input[name="x"] : float32[2, 3]',
        '%1 = mul(%0, %0) : float32[2, 3]',
        '%2 = sum[axes=[1]](%1) : float32[2, 1]',
        '%3 = reshape[shape=[2]](%2) : float32[2]',
        'return y=%3, x=%0',
      ].join('\n'),
    );
  });

  it('gives a node with two outputs two numbers, and shortens constants', () => {
    const program = trace({ x: { dtype: 'float32', shape: [6] } }, ({ x }) => {
      const { values, indices } = topK(
        add(x, constant(hostTensor(Float32Array.of(1, 2, 3, 4, 5, 6), [6]))),
        2,
      );
      return { values, indices, ids: iota(2) };
    });
    expect(printProgram(program)).toBe(
      [
        '%0 = input[name="x"] : float32[6]',
        '%1 = constant[tensor={1, 2, 3, 4, … 6}] : float32[6]',
        '%2 = add(%0, %1) : float32[6]',
        '%3, %4 = topK[k=2](%2) : float32[2], int64[2]',
        '%5 = constant[tensor={0, 1}] : int64[2]',
        'return values=%3, indices=%4, ids=%5',
      ].join('\n'),
    );
  });

  it('shows functions as such, and infinities and minus zero as they are', () => {
    const text = printProgram(
      trace({ x: scalar }, ({ x }) => ({
        y: softplus(x),
        z: mul(x, -0),
        w: mul(x, Number.NEGATIVE_INFINITY),
      })),
    );
    expect(text).toContain('custom[outputCount=1, backward=<function>]');
    expect(text).toContain('constant[tensor={-0}]');
    expect(text).toContain('constant[tensor={-Infinity}]');
  });

  it('is the text by which a gradient can be read: x² has the gradient 2x, as x + x', () => {
    const program = trace({ x: scalar }, ({ x }) => ({ g: gradients(mul(x, x), [x])[0]! }));
    expect(printProgram(optimize(program))).toBe(
      ['%0 = input[name="x"] : float32[]', '%1 = add(%0, %0) : float32[]', 'return g=%1'].join('\n'),
    );
  });
});

describe('input', () => {
  it('has no value of its own', () => {
    expect(() => inputOp.evaluate([], { name: 'x', ...scalar }, [])).toThrow(
      /input: expected a bound input, received "x" unbound/,
    );
  });
  it('stands for itself: two inputs of one name are two tensors', () => {
    expect(
      where(input('c', { dtype: 'bool', shape: [] }), input('x', scalar), input('x', scalar)).node.inputs[1],
    ).not.toBe(input('x', scalar));
  });
});
