import { describe, expect, it } from 'vitest';
import { type OpRow, testOps } from '../../../test/support/op-rows.ts';
import { empty, f32, i32, i64, placeholder, points, type Sample } from '../../../test/support/samples.ts';
import { gradients } from '../gradient.ts';
import { mul } from './elementwise.ts';
import * as reduce from './reduce.ts';
import { sliceAxis } from './shape.ts';

const { sum, max, min, mean, sumTo, cumulativeSum, argmax, topK, softmax, logSoftmax } = reduce;
const infinity = Number.POSITIVE_INFINITY;

const matrix = f32([
  [1, 5, 3],
  [4, 2, 6],
]);

/** Several ranks, axes of size 1 and of size 0. */
const anyShape: (readonly Sample[])[] = [
  [points([2, 3], 1)],
  [points([2, 1, 3], 2)],
  [points([1, 1], 3)],
  [
    f32([
      [1e4, -1e4, 1],
      [1, 1e-4, -1e4],
    ]),
  ],
];

const rows: readonly OpRow[] = [
  {
    title: 'sum',
    covers: [sum, reduce.sumOp],
    apply: (x) => [
      sum(x!),
      sum(x!, { axes: 0 }),
      sum(x!, { axes: -1, keepDims: true }),
      sum(x!, { axes: [0, -1] }),
    ],
    inputs: [matrix],
    outputs: [f32(21), f32([5, 7, 9]), f32([[9], [12]]), f32(21)],
    slopes: [
      f32([
        [4, 4, 4],
        [4, 4, 4],
      ]),
    ],
    gradientAt: [...anyShape, [empty([0, 3])], [empty([2, 0])]],
    agreeAt: [
      [
        i64([
          [1, 2],
          [3, 4],
        ]),
      ],
      [
        i32([
          [1, 2],
          [3, 4],
        ]),
      ],
    ],
    rejects: [
      [() => sum(placeholder([2, 3]), { axes: 2 }), /sum: expected an axis in \[-2, 2\), received 2/],
      [
        () => sum(placeholder([2], 'bool')),
        /sum: expected a tensor of float32 or int32 or int64, received bool\[2\]/,
      ],
    ],
  },
  {
    title: 'sum of a scalar and over no axes',
    covers: [],
    apply: (x, y) => [sum(x!), sum(y!, { axes: [] })],
    inputs: [f32(3), f32([1, 2])],
    outputs: [f32(3), f32([1, 2])],
    slopes: [f32(1), f32([1, 1])],
    gradientAt: [[points([], 1), points([2], 2)]],
  },
  {
    title: 'max',
    covers: [max, reduce.maxOp],
    apply: (x) => [max(x!), max(x!, { axes: 0 }), max(x!, { axes: -1, keepDims: true })],
    inputs: [matrix],
    outputs: [f32(6), f32([4, 5, 6]), f32([[5], [6]])],
    // How often each element is a maximum.
    slopes: [
      f32([
        [0, 2, 0],
        [1, 0, 3],
      ]),
    ],
    gradientAt: anyShape,
    agreeAt: [
      [
        i64([
          [1, 2],
          [4, 3],
        ]),
      ],
      [
        i32([
          [1, 2],
          [4, 3],
        ]),
      ],
      [
        f32([
          [-infinity, -infinity, 1],
          [2, infinity, 2],
        ]),
      ],
    ],
    rejects: [
      [() => max(placeholder([2, 3]), { axes: -3 }), /max: expected an axis in \[-2, 2\), received -3/],
      [
        () => max(placeholder([2, 0]), { axes: 1 }),
        /max: expected at least one element along axis 1, received \[2, 0\]/,
      ],
    ],
  },
  {
    title: 'max: ties share the gradient',
    covers: [],
    apply: (x) => max(x!, { axes: -1 }),
    inputs: [
      f32([
        [7, 7, 7],
        [1, 2, 2],
      ]),
    ],
    outputs: [f32([7, 2])],
    slopes: [
      f32([
        [1 / 3, 1 / 3, 1 / 3],
        [0, 0.5, 0.5],
      ]),
    ],
    // Central differences see 1/2 at a tie of two.
    gradientAt: [
      [
        f32([
          [1, 3, 3],
          [1e4, 1e4, -1e4],
        ]),
      ],
      [empty([0, 2])],
    ],
    second: false,
  },
  {
    title: 'min',
    covers: [min],
    apply: (x) => [min(x!), min(x!, { axes: 0 })],
    inputs: [matrix],
    outputs: [f32(1), f32([1, 2, 3])],
    slopes: [
      f32([
        [2, 0, 1],
        [0, 1, 0],
      ]),
    ],
    gradientAt: anyShape,
    agreeAt: [
      [
        i64([
          [1, 2],
          [4, 3],
        ]),
      ],
    ],
    rejects: [
      [() => min(placeholder([0])), /max: expected at least one element along axis 0, received \[0\]/],
    ],
  },
  {
    title: 'mean',
    covers: [mean],
    apply: (x) => [mean(x!), mean(x!, { axes: 0 }), mean(x!, { axes: -1, keepDims: true })],
    inputs: [
      f32([
        [1, 2],
        [3, 6],
      ]),
    ],
    outputs: [f32(3), f32([2, 4]), f32([[1.5], [4.5]])],
    slopes: [
      f32([
        [1.25, 1.25],
        [1.25, 1.25],
      ]),
    ],
    gradientAt: anyShape,
    rejects: [
      [() => mean(placeholder([2], 'int64')), /mean: expected a tensor of float32, received int64\[2\]/],
      [
        () => mean(placeholder([2, 0])),
        /mean: expected at least one element along axis 1, received \[2, 0\]/,
      ],
    ],
  },
  {
    title: 'sumTo',
    covers: [sumTo],
    apply: (x) => [sumTo(x!, [3]), sumTo(x!, [2, 1]), sumTo(x!, []), sumTo(x!, [1, 3]), sumTo(x!, [2, 3])],
    inputs: [matrix],
    outputs: [f32([5, 7, 9]), f32([[9], [12]]), f32(21), f32([[5, 7, 9]]), matrix],
    slopes: [
      f32([
        [5, 5, 5],
        [5, 5, 5],
      ]),
    ],
    gradientAt: [[points([2, 3], 1)]],
    rejects: [
      [
        () => sumTo(placeholder([2, 3]), [2]),
        /sumTo: expected a shape that broadcasts to \[2, 3\], received \[2\]/,
      ],
      [
        () => sumTo(placeholder([3]), [2, 3]),
        /sumTo: expected a shape that broadcasts to \[3\], received \[2, 3\]/,
      ],
    ],
  },
  {
    title: 'cumulativeSum',
    covers: [cumulativeSum, reduce.cumulativeSumOp],
    apply: (x) => [
      cumulativeSum(x!, -1),
      cumulativeSum(x!, -1, { exclusive: true }),
      cumulativeSum(x!, -1, { reverse: true }),
      cumulativeSum(x!, -1, { exclusive: true, reverse: true }),
      cumulativeSum(x!, 0),
    ],
    inputs: [
      f32([
        [1, 2, 3],
        [4, 5, 6],
      ]),
    ],
    outputs: [
      f32([
        [1, 3, 6],
        [4, 9, 15],
      ]),
      f32([
        [0, 1, 3],
        [0, 4, 9],
      ]),
      f32([
        [6, 5, 3],
        [15, 11, 6],
      ]),
      f32([
        [5, 3, 0],
        [11, 6, 0],
      ]),
      f32([
        [1, 2, 3],
        [5, 7, 9],
      ]),
    ],
    // 3 + 2 + 1 + 0 of each direction: element i counts (3−i) + (2−i) + (i+1) + i = 6 times, and 2 or 1 down the column.
    slopes: [
      f32([
        [8, 8, 8],
        [7, 7, 7],
      ]),
    ],
    gradientAt: [...anyShape, [empty([0, 3])], [empty([2, 0])]],
    agreeAt: [
      [
        i64([
          [1, 2],
          [3, 4],
        ]),
      ],
      [
        i32([
          [1, 2],
          [3, 4],
        ]),
      ],
    ],
    rejects: [
      [() => cumulativeSum(placeholder([3]), 1), /cumulativeSum: expected an axis in \[-1, 1\), received 1/],
      [() => cumulativeSum(placeholder([]), 0), /cumulativeSum: expected an axis in \[0, 0\), received 0/],
      [
        () => cumulativeSum(placeholder([3], 'bool'), 0),
        /cumulativeSum: expected a tensor of float32.*, received bool\[3\]/,
      ],
    ],
  },
  {
    title: 'argmax',
    covers: [argmax, reduce.argmaxOp],
    apply: (x) => [argmax(x!), argmax(x!, 0)],
    inputs: [
      f32([
        [1, 5, 5],
        [4, 2, 6],
      ]),
    ],
    outputs: [i64([1, 2]), i64([1, 0, 1])],
    agreeAt: [
      [
        f32([
          [-infinity, -infinity],
          [1e4, 1e4],
        ]),
      ],
      [points([2, 3, 4], 1)],
      [points([1, 1], 2)],
      [
        i64([
          [1, 2],
          [4, 3],
        ]),
      ],
      [
        i32([
          [1, 2],
          [4, 3],
        ]),
      ],
    ],
    rejects: [
      [() => argmax(placeholder([3]), 1), /argmax: expected an axis in \[-1, 1\), received 1/],
      [
        () => argmax(placeholder([3, 0])),
        /argmax: expected at least one element along axis 1, received \[3, 0\]/,
      ],
      [() => argmax(placeholder([3], 'bool')), /argmax: expected a tensor of float32.*, received bool\[3\]/],
    ],
  },
  {
    title: 'topK',
    covers: [topK, reduce.topKOp],
    apply: (x) => {
      const { values, indices } = topK(x!, 2);
      return [values, indices];
    },
    inputs: [
      f32([
        [1, 5, 5, 7],
        [4, 4, 2, 4],
      ]),
    ],
    outputs: [
      f32([
        [7, 5],
        [4, 4],
      ]),
      i64([
        [3, 1],
        [0, 1],
      ]),
    ],
    agreeAt: [
      [points([2, 2, 5], 1)],
      [f32([[-infinity, 1e4, infinity, -1e4]])],
      [points([1, 2], 3)],
      [empty([0, 4])],
    ],
    rejects: [
      [
        () => topK(placeholder([2, 3]), 4),
        /topK: expected 1 ≤ k ≤ 3, the last dimension of \[2, 3\], received 4/,
      ],
      [() => topK(placeholder([2, 3]), 0), /topK: expected 1 ≤ k ≤ 3.*, received 0/],
      [() => topK(placeholder([2, 3]), 1.5), /topK: expected 1 ≤ k ≤ 3.*, received 1\.5/],
      [
        () => topK(placeholder([2, 3], 'int64'), 1),
        /topK: expected a tensor of float32, received int64\[2, 3\]/,
      ],
    ],
  },
  {
    title: 'softmax',
    covers: [softmax, reduce.softmaxOp],
    apply: (x) => softmax(x!),
    // Odds 1 : 3 and 1 : 1.
    inputs: [
      f32([
        [0, Math.log(3)],
        [7, 7],
      ]),
    ],
    outputs: [
      f32([
        [0.25, 0.75],
        [0.5, 0.5],
      ]),
    ],
    slopes: [
      f32([
        [0, 0],
        [0, 0],
      ]),
    ],
    gradientAt: [
      [points([2, 3], 1)],
      [points([2, 2, 4], 2)],
      [points([3, 1], 3)],
      [empty([0, 3])],
      [
        f32([
          [1e4, -1e4, 0],
          [1e4, 1e4, 1e4],
        ]),
      ],
    ],
    agreeAt: [
      [
        f32([
          [-infinity, 0, 1],
          [0, -infinity, -infinity],
        ]),
      ],
      [empty([2, 0])],
    ],
    // The gradient is a difference of terms many times its size.
    tolerance: 5e-6,
    rejects: [
      [() => softmax(placeholder([])), /softmax: expected rank 1 or more, received a scalar/],
      [
        () => softmax(placeholder([2], 'int64')),
        /softmax: expected a tensor of float32, received int64\[2\]/,
      ],
    ],
  },
  {
    title: 'softmax: the slope of one probability',
    covers: [],
    apply: (x, w) => sum(mul(softmax(x!), w!)),
    inputs: [f32([0, Math.log(3)]), f32([1, 0])],
    outputs: [f32(0.25)],
    // p₀(1 − p₀) = 3/16 and −p₀p₁; by w: p itself.
    slopes: [f32([0.1875, -0.1875]), f32([0.25, 0.75])],
    gradientAt: [[points([4], 1), points([4], 2)]],
  },
  {
    title: 'logSoftmax',
    covers: [logSoftmax, reduce.logSoftmaxOp],
    apply: (x) => logSoftmax(x!),
    inputs: [
      f32([
        [0, Math.log(3)],
        [7, 7],
      ]),
    ],
    outputs: [
      f32([
        [-Math.log(4), Math.log(0.75)],
        [-Math.LN2, -Math.LN2],
      ]),
    ],
    // 1 − 2p for the sum of both log-probabilities.
    slopes: [
      f32([
        [0.5, -0.5],
        [0, 0],
      ]),
    ],
    gradientAt: [
      [points([2, 3], 1)],
      [points([2, 2, 4], 2)],
      [points([3, 1], 3)],
      [empty([0, 3])],
      [
        f32([
          [1e4, -1e4, 0],
          [1e4, 1e4, 1e4],
        ]),
      ],
    ],
    agreeAt: [[empty([2, 0])]],
    rejects: [[() => logSoftmax(placeholder([])), /logSoftmax: expected rank 1 or more, received a scalar/]],
  },
  {
    title: 'logSoftmax with impossible entries',
    covers: [],
    apply: (x) => sliceAxis(logSoftmax(x!), -1, 1, 3),
    inputs: [f32([[-infinity, 0, Math.log(3)]])],
    outputs: [f32([[-Math.log(4), Math.log(0.75)]])],
    slopes: [f32([[0, 0.5, -0.5]])],
  },
];

testOps('reduce', reduce, rows);

describe('topK', () => {
  it('says that there is no gradient', () => {
    const x = placeholder([4]);
    expect(() => gradients(sum(topK(x, 2).values), [x])).toThrow(
      /received "topK", which has no gradient\. Wrap it in stopGradient/,
    );
  });
});
