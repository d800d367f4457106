import { describe, expect, it } from 'vitest';
import { type OpRow, testOps } from '../../../test/support/op-rows.ts';
import {
  bool,
  empty,
  f32,
  i32,
  i64,
  placeholder,
  points,
  type Sample,
} from '../../../test/support/samples.ts';
import type { Tensor } from '../tensor.ts';
import * as elementwise from './elementwise.ts';

const { PI, LN2, E } = Math;

/** Random numbers, one element, a scalar, no element, and the extremes. */
const alone = (low: number, high: number, extremes: readonly number[]): (readonly Sample[])[] => [
  [points([2, 3], 1, low, high)],
  [points([1], 2, low, high)],
  [points([], 3, low, high)],
  [empty([0, 2])],
  [f32(extremes)],
];

/** Equal shapes, each operand broadcast (missing, size-1 and both), a scalar, one element, no element. */
const pairs = (low = -2, high = 2): (readonly Sample[])[] => {
  const of = (shape: readonly number[], seed: number): Sample => points(shape, seed, low, high);
  return [
    [of([2, 3], 1), of([2, 3], 2)],
    [of([2, 3], 3), of([3], 4)],
    [of([3], 5), of([2, 3], 6)],
    [of([2, 1], 7), of([1, 3], 8)],
    [of([], 9), of([2, 2], 10)],
    [of([2, 2], 11), of([], 12)],
    [of([1], 13), of([1], 14)],
    [empty([0, 3]), of([3], 15)],
    [of([1, 3], 16), empty([0, 3])],
  ];
};
const extremes = f32([1e4, -1e4, 1e4, 0, 1, 1e-4]);
const others = f32([1e4, 1e4, -1e4, 1e4, 1e4, 1]);

interface UnaryCase {
  readonly name: string;
  readonly at: readonly number[];
  readonly y: readonly number[];
  readonly slope?: readonly number[];
  readonly range?: readonly [number, number];
  readonly extremes?: readonly number[];
  /** Kinks and numbers that are not finite: values and gradients of both engines only. */
  readonly also?: readonly number[];
  readonly tolerance?: number;
}

const infinity = Number.POSITIVE_INFINITY;

const unaryCases: readonly UnaryCase[] = [
  { name: 'neg', at: [2, -3], y: [-2, 3], slope: [-1, -1], extremes: [1e4, -1e4, 0] },
  { name: 'abs', at: [2, -3, 0], y: [2, 3, 0], slope: [1, -1, 0], extremes: [1e4, -1e4, 0] },
  { name: 'sign', at: [2, -3, 0], y: [1, -1, 0], slope: [0, 0, 0], extremes: [1e4, -1e4], also: [0, -0] },
  {
    name: 'floor',
    at: [2.5, -2.5, 3],
    y: [2, -3, 3],
    slope: [0, 0, 0],
    range: [0.1, 0.9],
    extremes: [1e4 + 0.5, -1e4 + 0.5],
    also: [1, 2],
  },
  {
    name: 'exp',
    at: [0, 1, LN2],
    y: [1, E, 2],
    slope: [1, E, 2],
    extremes: [-1e4, 0, 5],
    also: [-infinity, 1e4],
  },
  {
    name: 'log',
    at: [1, E, 4],
    y: [0, 1, 2 * LN2],
    slope: [1, 1 / E, 0.25],
    range: [0.5, 3],
    extremes: [1e4, 1],
    also: [1e-30, 0],
  },
  {
    name: 'sqrt',
    at: [4, 0.25],
    y: [2, 0.5],
    slope: [0.25, 1],
    range: [0.5, 3],
    extremes: [1e4, 1],
    also: [0],
  },
  {
    name: 'reciprocal',
    at: [2, -4],
    y: [0.5, -0.25],
    slope: [-0.25, -0.0625],
    range: [0.5, 3],
    extremes: [1e4, -1e4],
  },
  { name: 'sin', at: [0, PI / 6], y: [0, 0.5], slope: [1, Math.sqrt(3) / 2], extremes: [100, -100] },
  { name: 'cos', at: [0, PI / 3], y: [1, 0.5], slope: [0, -Math.sqrt(3) / 2], extremes: [100, -100] },
  // tanh(log 2) = (2 − 1/2) / (2 + 1/2) = 0.6, slope 1 − 0.36.
  { name: 'tanh', at: [0, LN2], y: [0, 0.6], slope: [1, 0.64], extremes: [1e4, -1e4, 1e-3] },
  // σ(log 3) = 3/4, slope 3/16.
  {
    name: 'sigmoid',
    at: [0, Math.log(3)],
    y: [0.5, 0.75],
    slope: [0.25, 0.1875],
    extremes: [1e4, -1e4, 30, -30, 0],
  },
  {
    name: 'log1p',
    at: [0, 1, E - 1],
    y: [0, LN2, 1],
    slope: [1, 0.5, 1 / E],
    range: [-0.5, 3],
    extremes: [1e4, 1e-3, 0],
    also: [-1, infinity],
  },
  {
    name: 'expm1',
    at: [0, LN2],
    y: [0, 1],
    slope: [1, 2],
    extremes: [-1e4, 1e-3, 0, 5],
    also: [-infinity, 1e4],
  },
  // erf(0) = 0 with slope 2/√π; erf(1/2) = 0.5204998778130465 (Abramowitz & Stegun, table 7.1).
  {
    name: 'erf',
    at: [0, 0.5],
    y: [0, 0.5204998778130465],
    slope: [2 / Math.sqrt(PI), (2 / Math.sqrt(PI)) * Math.exp(-0.25)],
    extremes: [1e4, -1e4, 2.9, 3.1, 6.5],
  },
  { name: 'square', at: [3, -4], y: [9, 16], slope: [6, -8], extremes: [1e4, -1e4, 0] },
];

const functions = elementwise as unknown as Record<string, (...xs: Tensor[]) => Tensor>;

const unaryRows: OpRow[] = unaryCases.map(
  (row): OpRow => ({
    title: row.name,
    covers: [
      functions[row.name],
      (elementwise as unknown as Record<string, unknown>)[`${row.name}Op`],
    ].filter(Boolean),
    apply: functions[row.name]!,
    inputs: [f32(row.at)],
    outputs: [f32(row.y)],
    ...(row.slope === undefined ? {} : { slopes: [f32(row.slope)] }),
    gradientAt: alone(...(row.range ?? ([-2, 2] as const)), row.extremes ?? []),
    agreeAt: row.also === undefined ? [] : [[f32(row.also)]],
    ...(row.tolerance === undefined ? {} : { tolerance: row.tolerance }),
    rejects: [
      [
        () => functions[row.name]!(placeholder([2], 'bool')),
        new RegExp(
          `${row.name === 'square' ? 'mul' : row.name}: expected a tensor of float32.*, received bool\\[2\\]`,
        ),
      ],
    ],
  }),
);

const { add, sub, mul, div, remainder, maximum, minimum, pow, clamp, where, cast, full, not, and, or } =
  elementwise;

const mismatch = (name: string, f: (a: Tensor, b: Tensor) => Tensor): NonNullable<OpRow['rejects']> => [
  [
    () => f(placeholder([2, 3]), placeholder([2])),
    new RegExp(`${name}: expected shapes that broadcast together, received \\[2, 3\\] and \\[2\\]`),
  ],
  [
    () => f(placeholder([2]), placeholder([2], 'int64')),
    new RegExp(`${name}: expected operands of one dtype, received float32 and int64`),
  ],
];

const arithmeticRows: OpRow[] = [
  {
    title: 'add',
    covers: [add, elementwise.addOp],
    apply: add,
    inputs: [
      f32([
        [1, 2],
        [3, 4],
      ]),
      f32([10, 20]),
    ],
    outputs: [
      f32([
        [11, 22],
        [13, 24],
      ]),
    ],
    slopes: [
      f32([
        [1, 1],
        [1, 1],
      ]),
      f32([2, 2]),
    ],
    gradientAt: [...pairs(), [extremes, others]],
    rejects: mismatch('add', add),
  },
  {
    title: 'sub',
    covers: [sub, elementwise.subOp],
    apply: sub,
    inputs: [
      f32([
        [1, 2],
        [3, 4],
      ]),
      f32([10, 20]),
    ],
    outputs: [
      f32([
        [-9, -18],
        [-7, -16],
      ]),
    ],
    slopes: [
      f32([
        [1, 1],
        [1, 1],
      ]),
      f32([-2, -2]),
    ],
    gradientAt: [...pairs(), [extremes, others]],
    rejects: mismatch('sub', sub),
  },
  {
    title: 'mul',
    covers: [mul, elementwise.mulOp],
    apply: mul,
    inputs: [
      f32([
        [1, 2],
        [3, 4],
      ]),
      f32([10, 20]),
    ],
    outputs: [
      f32([
        [10, 40],
        [30, 80],
      ]),
    ],
    slopes: [
      f32([
        [10, 20],
        [10, 20],
      ]),
      f32([4, 6]),
    ],
    gradientAt: [...pairs(), [extremes, others]],
    rejects: mismatch('mul', mul),
  },
  {
    title: 'div',
    covers: [div, elementwise.divOp],
    apply: div,
    inputs: [
      f32([
        [1, 2],
        [3, 4],
      ]),
      f32([2, 4]),
    ],
    outputs: [
      f32([
        [0.5, 0.5],
        [1.5, 1],
      ]),
    ],
    // −Σ a/b² down each column: −(1 + 3)/4 and −(2 + 4)/16.
    slopes: [
      f32([
        [0.5, 0.25],
        [0.5, 0.25],
      ]),
      f32([-1, -0.375]),
    ],
    gradientAt: [...pairs(0.5, 2), [extremes, others]],
    agreeAt: [[f32([1, -1, 0]), f32([0, 0, 0])]],
    rejects: mismatch('div', div),
  },
  {
    title: 'remainder',
    covers: [remainder, elementwise.remainderOp],
    apply: remainder,
    // The sign is that of the divisor: −7 = −3·3 + 2. 2⁵² − 1 = 67 108 869·67 108 859 + 24.
    inputs: [i64([7, -7, 7, 4503599627370495]), i64([3, 3, -3, 67108859])],
    outputs: [i64([1, 2, -2, 24])],
    rejects: [
      [() => remainder(placeholder([2]), placeholder([2])), /remainder: expected a tensor of int32.*float32/],
    ],
  },
  {
    title: 'maximum',
    covers: [maximum, elementwise.maximumOp],
    apply: maximum,
    inputs: [f32([1, 5, 4]), f32([2, 5, 3])],
    outputs: [f32([2, 5, 4])],
    slopes: [f32([0, 0.5, 1]), f32([1, 0.5, 0])],
    // A tie has slope 1/2 both ways, which is what central differences see.
    gradientAt: [...pairs(), [extremes, others]],
    rejects: mismatch('maximum', maximum),
  },
  {
    title: 'minimum',
    covers: [minimum, elementwise.minimumOp],
    apply: minimum,
    inputs: [f32([1, 5, 4]), f32([2, 5, 3])],
    outputs: [f32([1, 5, 3])],
    slopes: [f32([1, 0.5, 0]), f32([0, 0.5, 1])],
    gradientAt: [...pairs(), [extremes, others]],
    rejects: mismatch('minimum', minimum),
  },
  {
    title: 'integers: sums, products, quotients towards zero, extremes',
    covers: [],
    apply: (a, b) => [add(a!, b!), sub(a!, b!), mul(a!, b!), div(a!, b!), maximum(a!, b!), minimum(a!, b!)],
    inputs: [i64([7, -7, 2147483648]), i64([2, 2, 3])],
    outputs: [
      i64([9, -5, 2147483651]),
      i64([5, -9, 2147483645]),
      i64([14, -14, 6442450944]),
      i64([3, -3, 715827882]),
      i64([7, 2, 2147483648]),
      i64([2, -7, 3]),
    ],
    agreeAt: [[i32([7, -7]), i32([2, -2])]],
  },
  {
    title: 'numbers take the dtype of the tensor',
    covers: [],
    apply: (a, b) => [add(a!, 1), sub(1, a!), mul(2, b!), div(b!, 2)],
    inputs: [f32([0.5]), i64([5])],
    outputs: [f32([1.5]), f32([0.5]), i64([10]), i64([2])],
    rejects: [
      [() => mul(placeholder([2], 'int64'), 0.5), /expected an integer for int64, received 0\.5/],
      [() => mul(placeholder([2], 'int32'), 0.5), /expected an integer for int32, received 0\.5/],
      [() => add(1, 2), /elementwise: expected at least one tensor, received 1 and 2/],
    ],
  },
  {
    title: 'integer neg, abs, sign',
    covers: [],
    apply: (a) => [elementwise.neg(a!), elementwise.abs(a!), elementwise.sign(a!)],
    inputs: [i64([3, -4, 0])],
    outputs: [i64([-3, 4, 0]), i64([3, 4, 0]), i64([1, -1, 0])],
    agreeAt: [[i32([3, -4, 0])]],
  },
  {
    title: 'pow',
    covers: [pow, elementwise.powOp],
    apply: (x) => [pow(x!, 3), pow(x!, -1)],
    inputs: [f32([2, -1])],
    outputs: [f32([8, -1]), f32([0.5, -1])],
    // 3x² − x⁻².
    slopes: [f32([11.75, 2])],
    gradientAt: [[points([2, 3], 1, 0.5, 2)], [points([], 2, 0.5, 2)], [empty([0])], [f32([20, -20, 1])]],
    rejects: [
      [() => pow(placeholder([2], 'int64'), 2), /pow: expected a tensor of float32, received int64\[2\]/],
    ],
  },
  {
    title: 'pow with exponents 0, 1/2, 1 and 2',
    covers: [],
    apply: (x) => [pow(x!, 0), pow(x!, 0.5), pow(x!, 1), pow(x!, 2)],
    inputs: [f32([4, 9])],
    outputs: [f32([1, 1]), f32([2, 3]), f32([4, 9]), f32([16, 81])],
    slopes: [f32([0 + 0.25 + 1 + 8, 0 + 1 / 6 + 1 + 18])],
    gradientAt: [[points([3], 1, 0.5, 2)], [f32([1e4])]],
  },
  {
    title: 'pow: a square has slope 0 at 0',
    covers: [],
    apply: (x) => pow(x!, 2),
    inputs: [f32([0, -3])],
    outputs: [f32([0, 9])],
    slopes: [f32([0, -6])],
    gradientAt: [[f32([0, 1e4, -1e4])]],
  },
  {
    title: 'clamp',
    covers: [clamp, elementwise.clampOp],
    apply: (x) => clamp(x!, -1, 2),
    inputs: [f32([-3, -1, 0.5, 2, 5])],
    outputs: [f32([-1, -1, 0.5, 2, 2])],
    // The bounds themselves pass the gradient.
    slopes: [f32([0, 1, 1, 1, 0])],
    gradientAt: alone(-3, 3, [1e4, -1e4]),
    agreeAt: [[f32([-infinity, infinity, -1, 2])]],
    rejects: [
      [() => clamp(placeholder([2]), 2, 1), /clamp: expected low ≤ high, received 2 and 1/],
      [
        () => clamp(placeholder([2], 'int64'), 1, 2),
        /clamp: expected a tensor of float32, received int64\[2\]/,
      ],
    ],
  },
  {
    title: 'clamp with one bound',
    covers: [],
    apply: (x) => [clamp(x!, -infinity, 1), clamp(x!, 1, infinity)],
    inputs: [f32([0, 3])],
    outputs: [f32([0, 1]), f32([1, 3])],
    slopes: [f32([1, 1])],
    gradientAt: [[f32([0.5, 1e4, -1e4])]],
  },
];

const compare = (name: string, expected: readonly number[]): OpRow => {
  const f = functions[name]!;
  const op = (elementwise as unknown as Record<string, unknown>)[`${name}Op`];
  return {
    title: name,
    covers: [f, op].filter(Boolean),
    apply: f,
    inputs: [f32([1, 2, 3]), f32(2)],
    outputs: [bool(expected)],
    agreeAt: [
      [i64([1, 2, 3]), i64([2])],
      [i32([[1], [2]]), i32([1, 2, 3])],
      [f32([infinity, -infinity, 1e4]), f32([infinity, infinity, -1e4])],
      [f32([Number.NaN]), f32([Number.NaN])],
      [empty([0, 2]), f32([1, 2])],
    ],
    rejects: mismatch(name === 'notEqual' ? 'equal' : name, f),
  };
};

const logicRows: OpRow[] = [
  compare('equal', [0, 1, 0]),
  compare('notEqual', [1, 0, 1]),
  compare('less', [1, 0, 0]),
  compare('lessEqual', [1, 1, 0]),
  compare('greater', [0, 0, 1]),
  compare('greaterEqual', [0, 1, 1]),
  {
    title: 'and, or, not',
    covers: [and, or, not, elementwise.andOp, elementwise.orOp, elementwise.notOp],
    apply: (a, b) => [and(a!, b!), or(a!, b!), not(a!)],
    inputs: [bool([0, 0, 1, 1]), bool([0, 1, 0, 1])],
    outputs: [bool([0, 0, 0, 1]), bool([0, 1, 1, 1]), bool([1, 1, 0, 0])],
    agreeAt: [
      [bool([[0], [1]]), bool([0, 1])],
      [empty([0], 'bool'), bool([1])],
    ],
    rejects: [
      [
        () => and(placeholder([2]), placeholder([2])),
        /and: expected a tensor of bool, received float32\[2\]/,
      ],
      [() => or(placeholder([2]), placeholder([2])), /or: expected a tensor of bool, received float32\[2\]/],
      [() => not(placeholder([2])), /not: expected a tensor of bool, received float32\[2\]/],
      [
        () => and(placeholder([2], 'bool'), placeholder([3], 'bool')),
        /and: expected shapes that broadcast together, received \[2\] and \[3\]/,
      ],
    ],
  },
  {
    title: 'where',
    covers: [where, elementwise.whereOp],
    apply: where as OpRow['apply'],
    inputs: [bool([1, 0, 1]), f32([1, 2, 3]), f32(10)],
    outputs: [f32([1, 10, 3])],
    slopes: [f32([1, 0, 1]), f32(1)],
    gradientAt: [
      [
        bool([
          [1, 0, 1],
          [0, 0, 1],
        ]),
        points([2, 3], 1),
        points([2, 3], 2),
      ],
      [bool([[1], [0]]), points([3], 3), points([], 4)],
      [bool(1), points([2, 1], 5), points([1, 3], 6)],
      [bool([1]), points([1], 7), points([1], 8)],
      [empty([0, 2], 'bool'), points([2], 9), points([1, 2], 10)],
      [bool([1, 0]), f32([1e4, -1e4]), f32([-1e4, 1e4])],
    ],
    agreeAt: [
      [bool([1, 0]), i64([1, 2]), i64([3, 4])],
      [bool([1, 0]), i32([1, 2]), i32([3, 4])],
      [bool([1, 0]), bool([1, 1]), bool([0, 0])],
      // The branch not taken has no gradient, whatever it holds.
      [bool([1, 0]), f32([1, infinity]), f32([Number.NaN, 2])],
    ],
    rejects: [
      [
        () => where(placeholder([2]), 1, placeholder([2])),
        /where\(condition\): expected a tensor of bool, received float32\[2\]/,
      ],
      [
        () => where(placeholder([2], 'bool'), placeholder([2]), placeholder([2], 'int64')),
        /where: expected operands of one dtype, received float32 and int64/,
      ],
      [
        () => where(placeholder([2], 'bool'), placeholder([3]), 0),
        /where: expected shapes that broadcast together, received \[2\] and \[3\]/,
      ],
      [
        () => where(placeholder([3], 'bool'), placeholder([2, 3]), placeholder([2])),
        /where: expected shapes that broadcast together, received \[2, 3\] and \[2\]/,
      ],
    ],
  },
  {
    title: 'cast',
    covers: [cast, elementwise.castOp],
    apply: (x, n, b) => [
      cast(x!, 'int64'),
      cast(x!, 'int32'),
      cast(x!, 'bool'),
      cast(n!, 'float32'),
      cast(n!, 'bool'),
      cast(b!, 'float32'),
      cast(b!, 'int64'),
    ],
    inputs: [f32([1.9, -1.9, 0]), i64([5, 0, -3]), bool([1, 0, 1])],
    outputs: [
      i64([1, -1, 0]),
      i32([1, -1, 0]),
      bool([1, 1, 0]),
      f32([5, 0, -3]),
      bool([1, 0, 1]),
      f32([1, 0, 1]),
      i64([1, 0, 1]),
    ],
    agreeAt: [[empty([0]), i64([1e4]), bool([1])]],
  },
  {
    title: 'full',
    covers: [full],
    apply: (x) => [add(full([2, 2], 0.5), x!), full([3], 7, 'int64'), full([1], 1, 'bool'), full([0, 2], 3)],
    inputs: [f32([1, 2])],
    outputs: [
      f32([
        [1.5, 2.5],
        [1.5, 2.5],
      ]),
      i64([7, 7, 7]),
      bool([1]),
      empty([0, 2]),
    ],
    rejects: [
      [() => full([2, -1], 1), /fill: expected non-negative integer dimensions, received \[2, -1\]/],
      [() => full([2], 0.5, 'int64'), /expected an integer for int64, received 0\.5/],
    ],
  },
];

testOps(
  'elementwise',
  Object.fromEntries(Object.entries(elementwise).filter(([name]) => name !== 'onnxTypes')),
  [...unaryRows, ...arithmeticRows, ...logicRows],
);

describe('erf of the interpreter', () => {
  const at = (x: number): number =>
    elementwise.erfOp.evaluate([{ data: Float64Array.of(x), shape: [1] }], {}, [])[0]!.data[0]!;

  // Abramowitz & Stegun, tables 7.1 and 7.3.
  it.each([
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [3, 0.9999779095030014],
    [5, 0.9999999999984626],
  ])('erf(%f) = %f, and erf is odd', (x, y) => {
    expect(Math.abs(at(x) - y)).toBeLessThan(1e-15);
    expect(at(-x)).toBe(-at(x));
  });

  it('is continuous where the series gives way to the fraction', () => {
    const slope = (2 / Math.sqrt(PI)) * Math.exp(-9);
    expect(Math.abs(at(3 + 1e-7) - at(3 - 1e-7) - 2e-7 * slope)).toBeLessThan(1e-15);
  });
});
