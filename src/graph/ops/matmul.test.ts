import { describe, expect, it } from 'vitest';
import { type OpRow, testOps } from '../../../test/support/op-rows.ts';
import { empty, f32, placeholder, points } from '../../../test/support/samples.ts';
import { gradients } from '../gradient.ts';
import { optimize } from '../optimize.ts';
import { reachableNodes, trace } from '../program.ts';
import type { Tensor } from '../tensor.ts';
import { add, exp } from './elementwise.ts';
import * as matmulFamily from './matmul.ts';
import { sum } from './reduce.ts';
import { transpose } from './shape.ts';

const { matmul } = matmulFamily;

const a = f32([
  [1, 2],
  [3, 4],
]);
const b = f32([
  [5, 6],
  [7, 8],
]);

/** Every combination of transposed operands; shapes are those of the product [2, 3] · [3, 4]. */
const transposed = [false, true].flatMap((transposeA) =>
  [false, true].map((transposeB) => ({ transposeA, transposeB })),
);

const rows: readonly OpRow[] = [
  {
    title: 'matmul',
    covers: [matmul, matmulFamily.matmulOp],
    apply: (x, y) => matmul(x!, y!),
    inputs: [a, b],
    outputs: [
      f32([
        [19, 22],
        [43, 50],
      ]),
    ],
    // Row sums of b, and column sums of a.
    slopes: [
      f32([
        [11, 15],
        [11, 15],
      ]),
      f32([
        [4, 4],
        [6, 6],
      ]),
    ],
    gradientAt: [
      [points([2, 3], 1), points([3, 4], 2)],
      [points([1, 1], 3), points([1, 1], 4)],
      [points([1, 3], 5), points([3, 1], 6)],
      [empty([0, 3]), points([3, 2], 7)],
      [
        f32([[1e4, -1e4]]),
        f32([
          [1e4, 1],
          [1e4, -1e4],
        ]),
      ],
    ],
    rejects: [
      [
        () => matmul(placeholder([2, 3]), placeholder([2, 4])),
        /matmul: expected equal inner dimensions, received \[2, 3\] and \[2, 4\]: 3 and 2/,
      ],
      [
        () => matmul(placeholder([2, 3]), placeholder([2, 4]), { transposeA: true, transposeB: true }),
        /matmul: expected equal inner dimensions, received \[2, 3\]ᵀ and \[2, 4\]ᵀ: 2 and 4/,
      ],
      [
        () => matmul(placeholder([3]), placeholder([3, 4])),
        /matmul: expected matrices \(rank 2 or more\), received \[3\] and \[3, 4\]/,
      ],
      [
        () => matmul(placeholder([5, 2, 3]), placeholder([4, 4])),
        /matmul: expected equal inner dimensions, received \[5, 2, 3\] and \[4, 4\]: 3 and 4/,
      ],
      [
        () => matmul(placeholder([2, 2, 3]), placeholder([3, 3, 4])),
        /matmul: expected shapes that broadcast together, received \[2\] and \[3\]/,
      ],
      [
        () => matmul(placeholder([2, 3], 'int64'), placeholder([3, 4])),
        /matmul\(a\): expected a tensor of float32, received int64\[2, 3\]/,
      ],
      [
        () => matmul(placeholder([2, 3]), placeholder([3, 4], 'int64')),
        /matmul\(b\): expected a tensor of float32, received int64\[3, 4\]/,
      ],
    ],
  },
  {
    title: 'matmul with every transposition, and alpha',
    covers: [],
    apply: (x, y) => transposed.map((options) => matmul(x!, y!, { ...options, alpha: 0.5 })),
    inputs: [a, b],
    outputs: [
      f32([
        [9.5, 11],
        [21.5, 25],
      ]), // a b / 2
      f32([
        [8.5, 11.5],
        [19.5, 26.5],
      ]), // a bᵀ / 2: rows of a times rows of b
      f32([
        [13, 15],
        [19, 22],
      ]), // aᵀ b / 2
      f32([
        [11.5, 15.5],
        [17, 23],
      ]), // aᵀ bᵀ / 2
    ],
    gradientAt: [[points([2, 2], 1), points([2, 2], 2)]],
  },
  ...transposed.map(
    ({ transposeA, transposeB }): OpRow => ({
      title: `matmul [2, 3] · [3, 4] with transposeA ${transposeA}, transposeB ${transposeB}`,
      covers: [],
      // The operand is stored transposed; both products are the same numbers.
      apply: (x, y) => [
        matmul(transposeA ? transpose(x!) : x!, transposeB ? transpose(y!) : y!, { transposeA, transposeB }),
      ],
      inputs: [
        f32([
          [1, 0, 2],
          [0, 1, -1],
        ]),
        f32([
          [1, 2, 3, 4],
          [5, 6, 7, 8],
          [9, 10, 11, 12],
        ]),
      ],
      outputs: [
        f32([
          [19, 22, 25, 28],
          [-4, -4, -4, -4],
        ]),
      ],
      slopes: [
        f32([
          [10, 26, 42],
          [10, 26, 42],
        ]),
        f32([
          [1, 1, 1, 1],
          [1, 1, 1, 1],
          [1, 1, 1, 1],
        ]),
      ],
      gradientAt: [[points([2, 3], 1), points([3, 4], 2)]],
    }),
  ),
  ...transposed.map(
    ({ transposeA, transposeB }): OpRow => ({
      title: `batched matmul with transposeA ${transposeA}, transposeB ${transposeB}`,
      covers: [],
      apply: (x, y) => matmul(x!, y!, { transposeA, transposeB, alpha: 2 }),
      // Products of 1 × 1 matrices: 2 · x · y.
      inputs: [f32([[[1]], [[2]]]), f32([[[3]], [[4]]])],
      outputs: [f32([[[6]], [[16]]])],
      slopes: [f32([[[6]], [[8]]]), f32([[[2]], [[4]]])],
      gradientAt: [
        [points(transposeA ? [2, 3, 2] : [2, 2, 3], 1), points(transposeB ? [2, 4, 3] : [2, 3, 4], 2)],
        // Leading axes broadcast both ways, and a matrix without them.
        [points(transposeA ? [2, 1, 3, 2] : [2, 1, 2, 3], 3), points(transposeB ? [3, 4, 3] : [3, 3, 4], 4)],
        [points(transposeA ? [3, 2] : [2, 3], 5), points(transposeB ? [2, 4, 3] : [2, 3, 4], 6)],
        [points(transposeA ? [2, 3, 2] : [2, 2, 3], 7), points(transposeB ? [4, 3] : [3, 4], 8)],
        [points(transposeA ? [2, 2, 3, 2] : [2, 2, 2, 3], 9), points(transposeB ? [1, 4, 3] : [1, 3, 4], 10)],
      ],
    }),
  ),
  {
    title: 'matmul over no inner elements is zero',
    covers: [],
    apply: (x, y, z) => [matmul(x!, y!), matmul(z!, y!), matmul(x!, y!, { alpha: 2 })],
    inputs: [empty([2, 0]), empty([0, 3]), empty([2, 1, 0])],
    outputs: [
      f32([
        [0, 0, 0],
        [0, 0, 0],
      ]),
      f32([[[0, 0, 0]], [[0, 0, 0]]]),
      f32([
        [0, 0, 0],
        [0, 0, 0],
      ]),
    ],
    gradientAt: [[empty([1, 0]), empty([0, 2]), empty([1, 2, 0])]],
  },
];

testOps('matmul', matmulFamily, rows);

describe('matmul', () => {
  it('flattens a batch times one matrix into one product', () => {
    const y: Tensor = matmul(placeholder([2, 5, 3]), placeholder([4, 3]), { transposeB: true });
    expect(y.shape).toEqual([2, 5, 4]);
    expect(y.node.inputs[0]!.shape).toEqual([10, 4]);
  });

  it('transposes the narrower operand of a weight gradient, once for all layers that read it', () => {
    const type = (shape: readonly number[]) => ({ dtype: 'float32', shape }) as const;
    const inputs = { x: type([8, 2]), wide: type([3, 2]), wider: type([4, 2]), narrow: type([1, 2]) };
    const program = trace(inputs, ({ x, ...weights }) => {
      const layers = Object.values(weights);
      const loss = layers
        .map((weight) => sum(exp(matmul(x, weight, { transposeB: true }))))
        .reduce((total, part) => add(total, part));
      const [wide, wider, narrow] = gradients(loss, layers);
      return { wide: wide!, wider: wider!, narrow: narrow! };
    });
    const transposes = reachableNodes(optimize(program).outputs.map(({ tensor }) => tensor))
      .filter(({ op }) => op.name === 'transpose')
      .map(({ inputs: [source], outputs: [result] }) => `${source!.shape} → ${result!.shape}`);
    // x for both wide layers, their two gradients, and the cotangent of the narrow layer.
    expect(transposes.sort()).toEqual(['2,3 → 3,2', '2,4 → 4,2', '8,1 → 1,8', '8,2 → 2,8']);
  });
});
