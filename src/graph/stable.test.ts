import { describe, expect, it } from 'vitest';
import { enginesAgree, sharedOrt } from '../../test/support/engines-agree.ts';
import { checkGradient, gradientProgram, points } from '../../test/support/gradient-check.ts';
import { f32, placeholder, type Sample, toArray } from '../../test/support/samples.ts';
import type { Engine } from '../engine/engine.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { gradients } from './gradient.ts';
import { expm1, log1p } from './ops/elementwise.ts';
import { sum } from './ops/reduce.ts';
import { trace } from './program.ts';
import { log1mexp, logAddExp, logSigmoid, logSumExp, softmaxEntropy, softplus } from './stable.ts';
import type { Tensor } from './tensor.ts';

const { abs, fround, LN2 } = Math;
const infinity = Number.POSITIVE_INFINITY;

/** float64 value and slope, written with the standard library's log1p and expm1. */
interface Reference {
  readonly f: (x: Tensor) => Tensor;
  readonly value: (x: number) => number;
  readonly slope: (x: number) => number;
  /** Points at which it is defined and finite in float32. */
  readonly at: readonly number[];
}

const tails = [0, 1e-6, -1e-6, 1, -1, 20, -20, 30, -30, 100, -100, 1e4, -1e4];
/** 1 / (1 + exp(−x)), from the side that loses nothing. */
const sigma = (x: number): number => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)));

const references: Readonly<Record<string, Reference>> = {
  // log(1 + eˣ): for x > 0 eˣ is taken out of the logarithm.
  softplus: {
    f: softplus,
    value: (x) => (x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x))),
    slope: sigma,
    at: tails,
  },
  logSigmoid: {
    f: logSigmoid,
    value: (x) => (x > 0 ? -Math.log1p(Math.exp(-x)) : x - Math.log1p(Math.exp(x))),
    slope: (x) => sigma(-x),
    at: tails,
  },
  log1mexp: {
    f: log1mexp,
    value: (x) => (x > -1 ? Math.log(-Math.expm1(x)) : Math.log1p(-Math.exp(x))),
    slope: (x) => -1 / Math.expm1(-x),
    at: [...tails.filter((x) => x < 0), -LN2, -0.69, -0.7],
  },
  log1p: {
    f: log1p,
    value: Math.log1p,
    slope: (x) => 1 / (1 + x),
    at: [...tails.filter((x) => x > -1), -0.5],
  },
  expm1: { f: expm1, value: Math.expm1, slope: Math.exp, at: tails.filter((x) => x < 80) },
};

async function valueAndSlope(engine: Engine, f: (x: Tensor) => Tensor, at: readonly number[]) {
  const program = trace({ x: { dtype: 'float32', shape: [at.length] } }, ({ x }) => {
    const y = f(x);
    return { y, g: gradients(sum(y), [x])[0]! };
  });
  const executable = await engine.compile(program);
  const { y, g } = await executable.run({ x: Float32Array.from(at) });
  executable.dispose();
  return { y: Array.from(y!.data as Float64Array), g: Array.from(g!.data as Float64Array) };
}

/** Relative error; float32 flushes what is below its smallest normal number, 1.2e-38. */
function expectRelative(
  given: readonly number[],
  wanted: readonly number[],
  at: readonly number[],
  limit: number,
): void {
  for (const [i, x] of at.entries()) {
    const error = abs(given[i]! - wanted[i]!);
    expect(given[i], `finite at ${x}`).toSatisfy(Number.isFinite);
    expect(error, `at ${x}: ${given[i]}, expected ${wanted[i]}`).toBeLessThanOrEqual(
      limit * abs(wanted[i]!) + 1.2e-38,
    );
  }
}

describe.each(Object.entries(references))('%s', (_name, { f, value, slope, at }) => {
  const exact = at.map(fround);
  it('has the values and slopes of the standard library in the interpreter, to 1e-13 of each', async () => {
    const { y, g } = await valueAndSlope(createInterpreter(), f, at);
    expectRelative(y, exact.map(value), at, 1e-13);
    expectRelative(g, exact.map(slope), at, 1e-13);
  });
  it('has them in ONNX Runtime, to 1e-6 of each and in the tails too', async () => {
    const { y, g } = await valueAndSlope(sharedOrt(), f, at);
    // exp(−100) rounds its argument to 100 · 6e-8 at worst, but is below the smallest normal number anyway.
    expectRelative(y, exact.map(value), at, 1e-6);
    expectRelative(g, exact.map(slope), at, 2e-6);
  });
});

const row = (...xs: number[]): Sample => f32(xs);
const spread = [
  row(0, 0, 0, 0),
  row(1e4, -1e4, 0, 1),
  row(-1e4, -1e4, -1e4, -1e4),
  row(1e-6, -1e-6, 20, 19),
  row(100, -100, 100, 20),
];

describe('gradients of gradients', () => {
  const first =
    (f: (...xs: Tensor[]) => Tensor) =>
    (...xs: Tensor[]): readonly Tensor[] =>
      gradients(sum(f(...xs)), xs);
  it.each([
    ['softplus', softplus, [row(0, 0.5, -3, 20)]],
    ['logSigmoid', logSigmoid, [row(0, 0.5, -3, 20)]],
    ['log1mexp', log1mexp, [row(-0.1, -0.7, -3, -20)]],
    ['logAddExp', logAddExp, [row(0, 1, 2), row(0, -1, 30)]],
    ['logSumExp', (x: Tensor) => logSumExp(x, { axes: -1 }), [points([2, 3])]],
    ['softmaxEntropy', softmaxEntropy, [points([2, 3])]],
  ] as const)('%s', (_name, f, inputs) => checkGradient(first(f as (...xs: Tensor[]) => Tensor), inputs));
});

describe('logSumExp', () => {
  it('of log 1, log 2 and log 3 is log 6, with slopes 1/6, 1/3, 1/2', async () => {
    const { y, g } = await valueAndSlope(createInterpreter(), (x) => logSumExp(x), [0, LN2, Math.log(3)]);
    expect(y[0]).toBeCloseTo(Math.log(6), 7);
    expect(g.map((p) => p * 6)).toEqual([1, 2, 3].map((p) => expect.closeTo(p, 6)));
  });
  it.each([[{}], [{ axes: 0 }], [{ axes: [0, 2] }], [{ axes: -1, keepDims: true }], [{ axes: [] }]])(
    'over %j: shape of the sum, and the gradient of central differences',
    async (options) => {
      const x = points([2, 3, 4]);
      expect(logSumExp(placeholder(x.shape), options).shape).toEqual(
        sum(placeholder(x.shape), options).shape,
      );
      await checkGradient((t) => logSumExp(t, options), [x]);
      await enginesAgree(
        gradientProgram((t) => logSumExp(t, options), [x]),
        { x0: toArray(x) },
      );
    },
  );
  it.each(spread.map((x) => [Array.from(x.data), x] as const))('is right at %j', async (_data, x) => {
    await checkGradient((t) => logSumExp(t), [x]);
    await enginesAgree(
      gradientProgram((t) => logSumExp(t), [x]),
      { x0: toArray(x) },
    );
  });
  it('moves with a shift of all elements, which the gradient does not see', async () => {
    const run = (shift: number) =>
      valueAndSlope(
        sharedOrt(),
        (x) => logSumExp(x),
        [0.5, -1, 2].map((x) => x + shift),
      );
    const [at0, at1024] = [await run(0), await run(1024)];
    expect(at1024.y[0]! - 1024).toBeCloseTo(at0.y[0]!, 3);
    at0.g.forEach((p, i) => {
      expect(at1024.g[i]).toBeCloseTo(p, 6);
    });
  });
  it('ignores entries of −Infinity, and is −Infinity for nothing else', async () => {
    for (const engine of [createInterpreter(), sharedOrt()]) {
      const some = await valueAndSlope(engine, (x) => logSumExp(x), [-infinity, 0, -infinity, LN2]);
      expect(some.y[0]).toBeCloseTo(Math.log(3), 6);
      expect(some.g).toEqual([0, expect.closeTo(1 / 3, 6), 0, expect.closeTo(2 / 3, 6)]);
      const none = await valueAndSlope(engine, (x) => logSumExp(x), [-infinity, -infinity]);
      expect(none).toEqual({ y: [-infinity], g: [0, 0] });
    }
  });
});

describe('logAddExp', () => {
  const cases: readonly (readonly [number, number])[] = [
    [0, 0],
    [LN2, 0],
    [1e4, 0.1],
    [0.1, -1e4],
    [-1e4, 0.1],
    [1e4, -1e4],
    [-1e4, -1e4],
    [20, -20],
    [100, 101],
    [1e-6, -1e-6],
  ];
  const run = async (engine: Engine) => {
    const shape = [cases.length];
    const type = { dtype: 'float32', shape } as const;
    const program = trace({ a: type, b: type }, ({ a, b }) => {
      const y = logAddExp(a, b);
      const [da, db] = gradients(sum(y), [a, b]);
      return { y, da: da!, db: db! };
    });
    const executable = await engine.compile(program);
    const outputs = await executable.run({
      a: Float32Array.from(cases, ([a]) => a),
      b: Float32Array.from(cases, ([, b]) => b),
    });
    executable.dispose();
    return Object.fromEntries(
      Object.entries(outputs).map(([name, { data }]) => [name, Array.from(data as Float64Array)]),
    );
  };
  it.each([
    ['interpreter', 1e-13, createInterpreter],
    ['ort', 1e-6, sharedOrt],
  ] as const)(
    'is max + log1p(exp(−distance)) with slopes σ(±difference) in the %s',
    async (_name, limit, engine) => {
      const { y, da, db } = await run(engine());
      const exact = cases.map(([a, b]) => [fround(a), fround(b)] as const);
      const labels = cases.map((_, i) => i);
      expectRelative(
        y!,
        exact.map(([a, b]) => Math.max(a, b) + Math.log1p(Math.exp(-abs(a - b)))),
        labels,
        limit,
      );
      expectRelative(
        da!,
        exact.map(([a, b]) => sigma(a - b)),
        labels,
        2 * limit,
      );
      expectRelative(
        db!,
        exact.map(([a, b]) => sigma(b - a)),
        labels,
        2 * limit,
      );
    },
  );
  it('has −Infinity as its neutral element, with finite slopes', async () => {
    const inputs = [row(-infinity, 3, -infinity), row(3, -infinity, -infinity)];
    const outputs = await enginesAgree(
      trace({ a: inputs[0]!, b: inputs[1]! }, ({ a, b }) => {
        const y = logAddExp(a, b);
        const [da, db] = gradients(sum(y), [a, b]);
        return { y, da: da!, db: db! };
      }),
      { a: toArray(inputs[0]!), b: toArray(inputs[1]!) },
    );
    expect(Array.from(outputs.y as Float32Array)).toEqual([3, 3, -infinity]);
    expect(Array.from(outputs.da as Float32Array)).toEqual([0, 1, 0.5]);
    expect(Array.from(outputs.db as Float32Array)).toEqual([1, 0, 0.5]);
  });
  it('broadcasts', () => checkGradient(logAddExp, [points([2, 1], 1), points([3], 2)]));
});

describe('softmaxEntropy', () => {
  it('is log 2 for two equal logits, log 4 − ¾ log 3 at odds 1 : 3, and 0 for one possible answer', async () => {
    const type = { dtype: 'float32', shape: [3, 2] } as const;
    const program = trace({ x: type }, ({ x }) => ({ y: softmaxEntropy(x) }));
    const outputs = await enginesAgree(program, { x: Float32Array.of(7, 7, 0, Math.log(3), 1e4, -1e4) });
    expect(Array.from(outputs.y as Float32Array)).toEqual(
      [LN2, Math.log(4) - 0.75 * Math.log(3), 0].map((h) => expect.closeTo(h, 6)),
    );
  });
  it.each(spread.map((x) => [Array.from(x.data), x] as const))('is right at %j', async (_data, x) => {
    await checkGradient((t) => softmaxEntropy(t), [x]);
    await enginesAgree(
      gradientProgram((t) => softmaxEntropy(t), [x]),
      { x0: toArray(x) },
      { tolerance: 4e-6 },
    );
  });
  it('has the gradient of central differences for batches', () =>
    checkGradient(softmaxEntropy, [points([2, 3, 5], 1, -4, 4)]));
  it('does not see a shift of all logits', async () => {
    const run = async (shift: number) =>
      valueAndSlope(
        sharedOrt(),
        (x) => softmaxEntropy(x),
        [0.5, -1, 2].map((x) => x + shift),
      );
    const [at0, at1024] = [await run(0), await run(1024)];
    expect(at1024.y[0]).toBeCloseTo(at0.y[0]!, 6);
    at0.g.forEach((p, i) => {
      expect(at1024.g[i]).toBeCloseTo(p, 6);
    });
  });
  it('is the entropy of the possible entries when others are −Infinity, with finite gradients', async () => {
    for (const engine of [createInterpreter(), sharedOrt()]) {
      const masked = await valueAndSlope(engine, (x) => softmaxEntropy(x), [-infinity, 0.5, -infinity, -1]);
      const alone = await valueAndSlope(engine, (x) => softmaxEntropy(x), [0.5, -1]);
      expect(masked.y[0]).toBeCloseTo(alone.y[0]!, 6);
      expect(masked.g.map((p) => p + 0)).toEqual([
        0,
        expect.closeTo(alone.g[0]!, 6),
        0,
        expect.closeTo(alone.g[1]!, 6),
      ]);
    }
  });
  it('rejects a scalar', () => {
    expect(() => softmaxEntropy(placeholder([]))).toThrow(
      /softmaxEntropy: expected logits of rank 1 or more, received a scalar/,
    );
  });
});

describe('infinite arguments', () => {
  it('give the limits of value and slope', async () => {
    const at = [infinity, -infinity];
    for (const engine of [createInterpreter(), sharedOrt()]) {
      const plus = await valueAndSlope(engine, softplus, at);
      expect({ y: plus.y, g: plus.g.map((p) => p + 0) }).toEqual({ y: [infinity, 0], g: [1, 0] });
      const sigmoid = await valueAndSlope(engine, logSigmoid, at);
      expect({ y: sigmoid.y.map((p) => p + 0), g: sigmoid.g.map((p) => p + 0) }).toEqual({
        y: [0, -infinity],
        g: [0, 1],
      });
    }
  });
});
