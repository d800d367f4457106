import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { enginesAgree, expectClose } from '../../test/support/engines-agree.ts';
import { points } from '../../test/support/gradient-check.ts';
import { toArray } from '../../test/support/samples.ts';
import { hostTensor } from '../core/host-tensor.ts';
import type { Shape } from '../core/shapes.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { checkpoint, customGradient, gradients } from './gradient.ts';
import { constant, constantLike } from './ops/common.ts';
import { after, stopGradient } from './ops/control.ts';
import {
  abs,
  add,
  cast,
  div,
  exp,
  full,
  greater,
  less,
  maximum,
  minimum,
  mul,
  neg,
  sigmoid,
  sub,
  tanh,
  where,
} from './ops/elementwise.ts';
import { gather } from './ops/indexing.ts';
import { matmul } from './ops/matmul.ts';
import { max, softmax, sum, topK } from './ops/reduce.ts';
import { broadcastTo, concat, pad, reshape, slice, transpose } from './ops/shape.ts';
import { optimize } from './optimize.ts';
import { type Program, printProgram, trace } from './program.ts';
import { logSumExp } from './stable.ts';
import type { Tensor } from './tensor.ts';

const matrix = { dtype: 'float32', shape: [2, 3] } as const;
const integers = { dtype: 'int64', shape: [2] } as const;

/** Lines of the optimised program between its inputs and its return, numbers and all. */
function optimized(build: (x: Tensor, n: Tensor) => Tensor): string[] {
  const text = printProgram(optimize(trace({ x: matrix, n: integers }, ({ x, n }) => ({ y: build(x, n) }))));
  return text.split('\n').filter((line) => !line.includes('= input['));
}

const untouched = ['return y=%0'];

describe('identities', () => {
  it.each<[string, (x: Tensor) => Tensor]>([
    ['x · 1', (x) => mul(x, 1)],
    ['1 · x', (x) => mul(1, x)],
    ['x · ones', (x) => mul(x, full([2, 3], 1))],
    ['x / 1', (x) => div(x, 1)],
    ['x + 0', (x) => add(x, 0)],
    ['0 + x', (x) => add(0, x)],
    ['x − 0', (x) => sub(x, 0)],
    ['−(−x)', (x) => neg(neg(x))],
    ['xᵀᵀ', (x) => transpose(transpose(x))],
    ['reshape back', (x) => reshape(reshape(x, [6]), [2, 3])],
    ['stopGradient', (x) => stopGradient(x)],
    ['after nothing', (x) => after(x, [])],
    ['after what nobody needs', (x) => after(x, [exp(x)])],
    ['a custom gradient', (x) => customGradient({ forward: (t) => [t!], backward: () => [] })(x)[0]!],
    ['checkpoint', (x) => checkpoint((t) => [t!])(x)[0]!],
  ])('%s is x', (_title, f) => {
    expect(optimized(f)).toEqual(untouched);
  });

  it.each<[string, (x: Tensor) => Tensor]>([
    ['x · 0', (x) => mul(x, 0)], // NaN and Infinity stay
    ['0 − x', (x) => sub(0, x)],
    ['1 / x', (x) => div(1, x)],
    ['−x', (x) => neg(x)],
  ])('%s is not', (_title, f) => {
    expect(optimized(f)).not.toEqual(untouched);
  });

  it('keeps an identity that also broadcasts', () => {
    const text = printProgram(
      optimize(trace({ x: { dtype: 'float32', shape: [3] } }, ({ x }) => ({ y: mul(x, full([2, 3], 1)) }))),
    );
    expect(text).toContain('mul(%0, ');
    expect(text).toContain('float32[2, 3]');
  });

  it('holds for integers', () => {
    expect(optimized((_x, n) => add(mul(n, 1), 0))).toEqual(['return y=%0']);
  });

  it('joins chains of reshapes and transposes', () => {
    expect(optimized((x) => reshape(reshape(reshape(x, [6]), [3, 2]), [6, 1]))).toEqual([
      '%1 = reshape[shape=[6, 1]](%0) : float32[6, 1]',
      'return y=%1',
    ]);
    const cycle = (x: Tensor): Tensor => transpose(x, [1, 2, 0]);
    expect(optimized((x) => cycle(cycle(reshape(x, [1, 2, 3]))))).toEqual([
      '%1 = reshape[shape=[1, 2, 3]](%0) : float32[1, 2, 3]',
      '%2 = transpose[permutation=[2, 0, 1]](%1) : float32[3, 1, 2]',
      'return y=%2',
    ]);
    expect(optimized((x) => reshape(cycle(cycle(cycle(reshape(x, [1, 2, 3])))), [2, 3]))).toEqual(untouched);
  });
});

describe('common subexpressions', () => {
  it('are computed once, attributes and constants included', () => {
    expect(optimized((x) => add(sum(exp(mul(x, 2)), { axes: 0 }), sum(exp(mul(x, 2)), { axes: 0 })))).toEqual(
      [
        '%1 = constant[tensor={2}] : float32[]',
        '%2 = mul(%0, %1) : float32[2, 3]',
        '%3 = exp(%2) : float32[2, 3]',
        '%4 = sum[axes=[0]](%3) : float32[1, 3]',
        '%5 = reshape[shape=[3]](%4) : float32[3]',
        '%6 = add(%5, %5) : float32[3]',
        'return y=%6',
      ],
    );
  });
  it.each<[string, (x: Tensor) => Tensor]>([
    ['operations', (x) => add(exp(x), tanh(x))],
    ['attributes', (x) => add(sum(x, { axes: 0, keepDims: true }), sum(x, { axes: 1, keepDims: true }))],
    ['operands', (x) => sub(tanh(x), tanh(exp(x)))],
    ['constants: 0 and −0', (x) => concat([maximum(x, 0), maximum(x, -0)], 0)],
    ['dtypes of equal constants', (x) => add(full([2, 3], 2), cast(add(cast(x, 'int64'), 2), 'float32'))],
  ])('are kept apart with other %s', (_title, f) => {
    const program = trace({ x: matrix }, ({ x }) => ({ y: f(x) }));
    const count = (p: Program): number => printProgram(p).split('\n').length;
    // A fill may go into the operation that uses it.
    expect(count(optimize(program))).toBeGreaterThanOrEqual(
      count(program) - (printProgram(program).includes('fill') ? 1 : 0),
    );
  });
  it('merges both outputs of equal nodes', () => {
    expect(optimized((x) => add(topK(x, 2).values, topK(x, 2).values))).toEqual([
      '%1, %2 = topK[k=2](%0) : float32[2, 2], int64[2, 2]',
      '%3 = add(%1, %1) : float32[2, 2]',
      'return y=%3',
    ]);
  });
  it('compares large constants by their memory', () => {
    const data = new Float32Array(5000).fill(1);
    const count = (a: Float32Array, b: Float32Array): number => {
      const make = (d: Float32Array) => constant(hostTensor(d, [5000]));
      const program = trace({ x: { dtype: 'float32', shape: [5000] } }, ({ x }) => ({
        y: add(mul(x, make(a)), mul(x, make(b))),
      }));
      return printProgram(optimize(program)).split('= constant').length - 1;
    };
    expect(count(data, data)).toBe(1);
    expect(count(data, data.slice())).toBe(2);
  });
  it('finds what a gradient computes again', () => {
    // softmax of the forward pass and of its own gradient rule for logSoftmax-like sums.
    const text = printProgram(
      optimize(trace({ x: matrix }, ({ x }) => ({ g: gradients(sum(logSumExp(x, { axes: -1 })), [x])[0]! }))),
    );
    expect(text.split('= exp(').length - 1).toBe(1);
    expect(text.split('= max[').length - 1).toBe(1);
  });
});

describe('dead code', () => {
  it('is not rebuilt, and inputs stay although unused', () => {
    const program = trace({ x: matrix, unused: matrix }, ({ x }) => {
      exp(x);
      return { y: tanh(x) };
    });
    expect(printProgram(optimize(program))).not.toContain('exp');
    expect(optimize(program).inputs.map(({ name }) => name)).toEqual(['x', 'unused']);
  });
  it('is what a custom function computes for outputs that are not used', () => {
    const pair = customGradient({ forward: (x) => [exp(x!), tanh(x!)], backward: () => [] });
    expect(optimized((x) => pair(x)[1]!)).toEqual(['%1 = tanh(%0) : float32[2, 3]', 'return y=%1']);
  });
  it('is what something waits for and nothing needs, but not what it waits for and something needs', () => {
    const build = (both: boolean) => {
      const program = trace({ x: matrix }, ({ x }) => {
        const e = exp(x);
        const y = tanh(after(x, [e, sigmoid(x)]));
        return both ? { y, e } : { y };
      });
      return printProgram(optimize(program));
    };
    expect(build(false)).not.toMatch(/exp|sigmoid|after/);
    expect(build(true)).toMatch(/after\(%0, %1\)/);
    expect(build(true)).not.toContain('sigmoid');
  });
});

describe('folding', () => {
  it('computes what depends on constants only', () => {
    expect(
      optimized((x) => add(x, exp(mul(sub(constantLike({ dtype: 'float32', shape: [] }, 3), 3), 5)))),
    ).toEqual(['%1 = constant[tensor={1}] : float32[]', '%2 = add(%0, %1) : float32[2, 3]', 'return y=%2']);
  });
  it('keeps dtypes: comparisons, casts, integers, two outputs', () => {
    const c = constant(hostTensor(Float32Array.of(1, 5, 3), [3]));
    const results = {
      bool: greater(c, 2),
      int: cast(c, 'int64'),
      top: topK(c, 2).indices,
      rows: gather(c, constant(hostTensor(BigInt64Array.of(2n, 0n), [2]))),
    };
    const text = printProgram(
      optimize({ inputs: [], outputs: Object.entries(results).map(([name, tensor]) => ({ name, tensor })) }),
    );
    expect(text).toContain('constant[tensor={0, 1, 1}] : bool[3]');
    expect(text).toContain('constant[tensor={1, 5, 3}] : int64[3]');
    expect(text).toContain('constant[tensor={1, 2}] : int64[2]');
    expect(text).toContain('constant[tensor={3, 1}] : float32[2]');
  });
  it('does not blow up a number: a fill stays a fill, and large results are left to the engine', () => {
    expect(optimized((x) => concat([x, full([1000, 3], 2)], 0)).join()).toContain('fill[shape=[1000, 3]]');
    const big = pad(constant(hostTensor(Float32Array.of(1), [1])), [0], [5000]);
    const text = printProgram(optimize({ inputs: [], outputs: [{ name: 'y', tensor: big }] }));
    expect(text).toContain('pad[');
  });
  it('replaces what has no elements', () => {
    expect(optimized((x) => exp(slice(x, [0, 0], [0, 3])))).toEqual([
      '%0 = constant[tensor={}] : float32[0, 3]',
      'return y=%0',
    ]);
  });
  it('reports an index that is out of range', () => {
    const row = gather(
      constant(hostTensor(Float32Array.of(1), [1])),
      constant(hostTensor(BigInt64Array.of(3n), [1])),
    );
    expect(() => optimize({ inputs: [], outputs: [{ name: 'y', tensor: row }] })).toThrow(
      /gather: expected indices in \[0, 1\), received 3/,
    );
  });
});

describe('broadcasts', () => {
  it.each<[string, (x: Tensor) => Tensor, string]>([
    ['of an operand', (x) => mul(x, broadcastTo(sum(x), [2, 3])), 'mul(%0, %2)'],
    ['of the first operand', (x) => sub(broadcastTo(sum(x, { axes: 0 }), [2, 3]), x), 'sub(%2, %0)'],
    ['of a filled constant', (x) => maximum(x, full([2, 3], 2)), 'maximum(%0, %1)'],
    ['in where', (x) => where(less(x, 0), full([2, 3], 7), broadcastTo(sum(x), [2, 3])), 'where('],
  ])('%s are left to the operation', (_title, f, line) => {
    const text = optimized(f).join('\n');
    expect(text).not.toMatch(/broadcastTo|fill/);
    expect(text).toContain(line);
  });
  it('stay where the result needs them', () => {
    expect(optimized((x) => mul(broadcastTo(sum(x), [2, 3]), full([2, 3], 2))).join('\n')).toMatch(
      /broadcastTo|fill/,
    );
    expect(optimized((x) => exp(broadcastTo(sum(x), [2, 3]))).join('\n')).toContain('broadcastTo');
  });
});

// ---------------------------------------------------------------- random programs

/** One step: picks operands among the tensors so far by number, and an operation by number. */
const steps = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { minLength: 1, maxLength: 14 });

const shapeOf: Shape = [2, 3];
const unary: readonly ((x: Tensor) => Tensor)[] = [
  (x) => mul(x, 1),
  (x) => add(0, x),
  (x) => neg(x),
  tanh,
  sigmoid,
  abs,
  stopGradient,
  (x) => transpose(transpose(x)),
  (x) => reshape(reshape(x, [3, 2]), [2, 3]),
  (x) => reshape(transpose(x), [2, 3]),
  (x) => broadcastTo(sum(x, { axes: 0 }), shapeOf),
  (x) => broadcastTo(max(x, { axes: -1, keepDims: true }), shapeOf),
  softmax,
  (x) => tanh(pad(slice(x, [0, 1], [2, 2]), [0, 0], [0, 1], 0.5)),
  (x) => broadcastTo(logSumExp(x), shapeOf),
  (x) => checkpoint((t) => [tanh(mul(t!, 0.5))])(x)[0]!,
  (x) => mul(full(shapeOf, 0.25), x),
];
const binary: readonly ((x: Tensor, y: Tensor) => Tensor)[] = [
  add,
  sub,
  (x, y) => tanh(mul(x, y)),
  maximum,
  minimum,
  (x, y) => where(less(x, y), x, mul(y, 0.5)),
  (x, y) => tanh(matmul(matmul(x, y, { transposeB: true, alpha: 0.5 }), y)),
  (x, y) => after(x, [y]),
  (x, y) => slice(concat([x, y], 0), [1, 0], [2, 3]),
  (x, y) => div(x, add(abs(y), 1)),
];

function randomProgram(recipe: readonly (readonly [number, number, number])[]): Program {
  const types = { x: matrix, y: { dtype: 'float32', shape: [3] } } as const;
  return trace(types, ({ x, y }) => {
    const known: Tensor[] = [
      x,
      broadcastTo(y, shapeOf),
      full(shapeOf, 0.75),
      constant(hostTensor(Float32Array.of(1, 0, -1, 0.5, 2, 1), shapeOf)),
    ];
    for (const [op, first, second] of recipe) {
      const a = known[first % known.length]!;
      const b = known[second % known.length]!;
      const index = op % (unary.length + binary.length);
      known.push(index < unary.length ? unary[index]!(a) : binary[index - unary.length]!(a, b));
    }
    const value = known.at(-1)!;
    const [dx, dy] = gradients(sum(mul(value, value)), [x, y]);
    return { value, dx: dx!, dy: dy! };
  });
}

const bound = { x: toArray(points([2, 3], 1)), y: toArray(points([3], 2)) };

describe('an optimised random program', () => {
  it('computes what the original computes, values and gradients, with no more nodes', async () => {
    const engine = createInterpreter();
    await fc.assert(
      fc.asyncProperty(steps, async (recipe) => {
        const program = randomProgram(recipe);
        const smaller = optimize(program);
        expect(printProgram(smaller).split('\n').length).toBeLessThanOrEqual(
          printProgram(program).split('\n').length,
        );
        const wanted = await (await engine.compile(program)).run(bound);
        const given = await (await engine.compile(smaller)).run(bound);
        for (const [name, { data, shape }] of Object.entries(wanted))
          expectClose(name, given[name]!.data, data, shape, 1e-5); // folded constants are rounded to float32
      }),
      { numRuns: 300, seed: 7 },
    );
  });
  it('optimised again stays as it is', () => {
    fc.assert(
      fc.property(steps, (recipe) => {
        const once = printProgram(optimize(randomProgram(recipe)));
        expect(printProgram(optimize(optimize(randomProgram(recipe))))).toBe(once);
      }),
      { numRuns: 100, seed: 7 },
    );
  });
  it('is the same in ONNX Runtime', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (recipe) => {
        await enginesAgree(randomProgram(recipe), bound, { tolerance: 1e-4 });
      }),
      { numRuns: 60, seed: 7 },
    );
  });
});
