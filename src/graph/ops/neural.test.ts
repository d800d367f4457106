import { type OpRow, testOps } from '../../../test/support/op-rows.ts';
import { empty, f32, i64, placeholder, points, type Sample, toArray } from '../../../test/support/samples.ts';
import { sizeOf } from '../../core/shapes.ts';
import type { Tensor } from '../tensor.ts';
import { constant } from './common.ts';
import * as neural from './neural.ts';

const { rmsNorm, layerNorm, rotary, silu, gelu, geluTanh, relu } = neural;

function constantOf(sample: Sample): Tensor {
  return constant({ dtype: sample.dtype, shape: sample.shape, data: toArray(sample) });
}

/** cos or sin of position · 0.7 / (j + 1), [5, half]. */
function table(f: (x: number) => number, half: number): Tensor {
  return constant({
    dtype: 'float32',
    shape: [5, half],
    data: Float32Array.from({ length: 5 * half }, (_, i) =>
      f((Math.floor(i / half) * 0.7) / ((i % half) + 1)),
    ),
  });
}

/** Random numbers, one element, a scalar, no element, and the extremes. */
const alone = (extremes: readonly number[]): (readonly Sample[])[] => [
  [points([2, 3], 1, -3, 3)],
  [points([1], 2)],
  [points([], 3)],
  [empty([0, 2])],
  [f32(extremes)],
];

const activation = (name: string, f: OpRow['apply']): Pick<OpRow, 'rejects'> => ({
  rejects: [
    [
      () => f(placeholder([2], 'int64')),
      new RegExp(`${name}: expected a tensor of float32, received int64\\[2\\]`),
    ],
  ],
});

const third = Math.log(3);
const phi = Math.exp(-0.5) / Math.sqrt(2 * Math.PI);
/** Φ(1) = (1 + erf(1/√2)) / 2. */
const cumulative = 0.8413447460685429;

const rows: readonly OpRow[] = [
  {
    title: 'rmsNorm',
    covers: [rmsNorm, neural.rmsNormOp],
    // Mean squares 25/2 and 1, without ε.
    apply: (x, w) => rmsNorm(x!, w!, 0),
    inputs: [
      f32([
        [3, 4],
        [1, -1],
      ]),
      f32([1, 10]),
    ],
    outputs: [
      f32([
        [3 / Math.sqrt(12.5), 40 / Math.sqrt(12.5)],
        [1, -10],
      ]),
    ],
    // dx = r (w − x̂ · mean(w x̂)); row 2: r = 1, x̂ = [1, −1], mean(w x̂) = −4.5 → [1 + 4.5, 10 − 4.5].
    // Row 1: x̂ = [3, 4]/√12.5, mean(w x̂) = 21.5/√12.5 → r [1 − 64.5/12.5, 10 − 86/12.5].
    slopes: [
      f32([
        [-4.16 / Math.sqrt(12.5), 3.12 / Math.sqrt(12.5)],
        [5.5, 5.5],
      ]),
      f32([3 / Math.sqrt(12.5) + 1, 4 / Math.sqrt(12.5) - 1]),
    ],
    gradientAt: [
      [points([2, 3], 1), points([3], 2)],
      [points([2, 2, 4], 3), points([4], 4)],
      [points([3], 5), points([3], 6)],
      [empty([0, 3]), points([3], 9)],
      [f32([[1e4, -1e4, 1e4]]), f32([1, 2, 3])],
    ],
    rejects: [
      [
        () => rmsNorm(placeholder([2, 3]), placeholder([2]), 1e-6),
        /rmsNorm\(weight\): expected shape \[D=3\], received \[2\]/,
      ],
      [
        () => rmsNorm(placeholder([]), placeholder([2]), 1e-6),
        /rmsNorm\(x\): expected shape \[\.\.\., D\], received \[\]/,
      ],
      [
        () => rmsNorm(placeholder([2], 'int64'), placeholder([2]), 1e-6),
        /rmsNorm: expected a tensor of float32, received int64/,
      ],
    ],
  },
  {
    title: 'rmsNorm with ε: zeros stay zeros, and equal elements keep their direction',
    covers: [],
    apply: (x, w) => rmsNorm(x!, w!, 0.25),
    inputs: [
      f32([
        [0, 0, 0],
        [Math.sqrt(0.75), Math.sqrt(0.75), Math.sqrt(0.75)],
      ]),
      f32([1, 2, 4]),
    ],
    outputs: [
      f32([
        [0, 0, 0],
        [Math.sqrt(0.75), 2 * Math.sqrt(0.75), 4 * Math.sqrt(0.75)],
      ]),
    ],
    gradientAt: [
      [points([2, 3], 1), points([3], 2)],
      // One element a row; without ε its gradient would be 0.
      [points([2, 1], 7, 0.5, 2), points([1], 8)],
      [f32([[0, 0, 0]]), f32([1, 2, 3])],
      [f32([[1e-4, -1e-4, 0]]), f32([1, -1e4, 1e4])],
    ],
  },
  {
    title: 'layerNorm',
    covers: [layerNorm, neural.layerNormOp],
    // Row 1: mean 3, deviation 2; row 2: mean 0, deviation 1.
    apply: (x, w, b) => layerNorm(x!, w!, b!, 0),
    inputs: [
      f32([
        [1, 5],
        [-1, 1],
      ]),
      f32([1, 10]),
      f32([0.5, 0]),
    ],
    outputs: [
      f32([
        [-0.5, 10],
        [-0.5, 10],
      ]),
    ],
    // With two elements x̂ is [−1, 1] wherever x lies: no slope by x.
    slopes: [
      f32([
        [0, 0],
        [0, 0],
      ]),
      f32([-2, 2]),
      f32([2, 2]),
    ],
    gradientAt: [
      [points([2, 3], 1), points([3], 2), points([3], 3)],
      [points([2, 2, 4], 4), points([4], 5), points([4], 6)],
      [points([3], 7), points([3], 8), points([3], 9)],
      [empty([0, 3]), points([3], 10), points([3], 11)],
      [f32([[1e4, -1e4, 5e3]]), f32([1, 2, 3]), f32([1e4, 0, -1e4])],
    ],
    rejects: [
      [
        () => layerNorm(placeholder([2, 3]), placeholder([2]), placeholder([3]), 1e-6),
        /layerNorm\(weight\): expected shape \[D=3\], received \[2\]/,
      ],
      [
        () => layerNorm(placeholder([2, 3]), placeholder([3]), placeholder([1]), 1e-6),
        /layerNorm\(bias\): expected shape \[D=3\], received \[1\]/,
      ],
      [
        () => layerNorm(placeholder([2], 'int64'), placeholder([2]), placeholder([2]), 1e-6),
        /layerNorm: expected a tensor of float32, received int64/,
      ],
    ],
  },
  {
    title: 'layerNorm with ε: equal elements give the bias',
    covers: [],
    apply: (x, w, b) => layerNorm(x!, w!, b!, 1),
    inputs: [
      f32([
        [7, 7],
        [1, -1],
      ]),
      f32([1, 1]),
      f32([3, 4]),
    ],
    outputs: [
      f32([
        [3, 4],
        [3 + Math.SQRT1_2, 4 - Math.SQRT1_2],
      ]),
    ],
    gradientAt: [
      [points([2, 3], 1), points([3], 2), points([3], 3)],
      [f32([[5, 5, 5]]), f32([1, 2, 3]), f32([0, 0, 0])],
      [f32([[3]]), f32([2]), f32([1])],
    ],
  },
  {
    title: 'rotary',
    covers: [rotary, neural.rotaryOp],
    // A quarter turn at position 1: the pair (1, 3) becomes (−3, 1), (2, 4) becomes (−4, 2). Position 0 turns nothing.
    apply: (x, positions, c, s) => rotary(x!, positions!, c!, s!),
    inputs: [
      f32([
        [
          [
            [1, 2, 3, 4],
            [1, 2, 3, 4],
          ],
        ],
      ]),
      i64([[1, 0]]),
      f32([
        [1, 1],
        [0, 0],
      ]),
      f32([
        [0, 0],
        [1, 1],
      ]),
    ],
    outputs: [
      f32([
        [
          [
            [-3, -4, 1, 2],
            [1, 2, 3, 4],
          ],
        ],
      ]),
    ],
    rejects: [
      [
        () =>
          rotary(
            placeholder([1, 1, 2, 4]),
            placeholder([1, 2], 'int64'),
            placeholder([8, 3]),
            placeholder([8, 3]),
          ),
        /rotary: expected tables of width 2, half the head size 4, received \[8, 3\]/,
      ],
      [
        () =>
          rotary(
            placeholder([1, 2, 4]),
            placeholder([1, 2], 'int64'),
            placeholder([8, 2]),
            placeholder([8, 2]),
          ),
        /rotary\(x\): expected shape \[B, H, T, E\], received \[1, 2, 4\]/,
      ],
      [
        () =>
          rotary(
            placeholder([1, 1, 2, 4]),
            placeholder([1, 3], 'int64'),
            placeholder([8, 2]),
            placeholder([8, 2]),
          ),
        /rotary\(positions\): expected shape \[B=1, T=2\], received \[1, 3\]/,
      ],
      [
        () =>
          rotary(
            placeholder([1, 1, 2, 4]),
            placeholder([1, 2], 'int32'),
            placeholder([8, 2]),
            placeholder([8, 2]),
          ),
        /rotary\(positions\): expected a tensor of int64, received int32\[1, 2\]/,
      ],
    ],
  },
  ...(
    [
      [[1, 2, 3, 4], [[0, 1, 2]]],
      [
        [2, 1, 2, 8],
        [
          [3, 0],
          [1, 4],
        ],
      ],
      [[1, 1, 1, 4], [[2]]],
    ] as const
  ).map(
    ([shape, positions]): OpRow => ({
      title: `rotary of [${shape}]`,
      covers: [],
      apply: (x) =>
        rotary(x!, constantOf(i64(positions)), table(Math.cos, shape[3] / 2), table(Math.sin, shape[3] / 2)),
      // Zeros turn into zeros; the numbers are in the gradient, which is the inverse turn.
      inputs: [{ dtype: 'float32', shape, data: new Float64Array(sizeOf(shape)) }],
      outputs: [{ dtype: 'float32', shape, data: new Float64Array(sizeOf(shape)) }],
      gradientAt: [[points(shape, 1)], [points(shape, 2, -1e4, 1e4)]],
    }),
  ),
  {
    title: 'silu',
    covers: [silu, neural.siluOp],
    apply: (x) => silu(x!),
    // σ(log 3) = 3/4: slope s (1 + x (1 − s)).
    inputs: [f32([0, third, -third])],
    outputs: [f32([0, 0.75 * third, -0.25 * third])],
    slopes: [f32([0.5, 0.75 + 0.1875 * third, 0.25 - 0.1875 * third])],
    gradientAt: alone([1e4, -1e4, 20, -20, 0, 1]),
    ...activation('silu', (x) => silu(x!)),
  },
  {
    title: 'gelu',
    covers: [gelu, neural.geluOp],
    apply: (x) => gelu(x!),
    inputs: [f32([0, 1, -1])],
    outputs: [f32([0, cumulative, cumulative - 1])],
    slopes: [f32([0.5, cumulative + phi, 1 - cumulative - phi])],
    gradientAt: alone([1e4, -1e4, 6, -6, 0, 1]),
    ...activation('gelu', (x) => gelu(x!)),
  },
  {
    title: 'geluTanh',
    covers: [geluTanh, neural.geluTanhOp],
    apply: (x) => geluTanh(x!),
    // tanh(√(2/π) · 1.044715) = 0.6823840; 0.5 · 1 · 1.682384.
    inputs: [f32([0, 1, -1])],
    outputs: [
      f32([
        0,
        0.5 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * 1.044715)),
        -0.5 * (1 - Math.tanh(Math.sqrt(2 / Math.PI) * 1.044715)),
      ]),
    ],
    gradientAt: alone([1e4, -1e4, 6, -6, 0, 1]),
    ...activation('geluTanh', (x) => geluTanh(x!)),
  },
  {
    title: 'relu',
    covers: [relu, neural.reluOp],
    apply: (x) => relu(x!),
    inputs: [f32([2, -3, 0])],
    outputs: [f32([2, 0, 0])],
    slopes: [f32([1, 0, 0])],
    gradientAt: alone([1e4, -1e4, 1e-3]),
    agreeAt: [[f32([0, -0])]],
    ...activation('relu', (x) => relu(x!)),
  },
];

testOps('neural', neural, rows);
