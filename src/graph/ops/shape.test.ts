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
import * as shape from './shape.ts';

const { reshape, expandDims, transpose, broadcastTo, slice, sliceAxis, pad, concat, patchify } = shape;

const matrix = f32([
  [1, 2, 3],
  [4, 5, 6],
]);
const ones = (rows: number, columns: number, one = 1): Sample =>
  f32(Array.from({ length: rows }, () => new Array<number>(columns).fill(one)));
const extremes = f32([
  [1e4, -1e4, 0],
  [1, 1e-4, -1],
]);

const rows: readonly OpRow[] = [
  {
    title: 'reshape',
    covers: [reshape, shape.reshapeOp],
    apply: (x) => [reshape(x!, [3, 2]), reshape(x!, [-1]), reshape(x!, [2, -1, 1]), reshape(x!, [2, 3])],
    inputs: [matrix],
    outputs: [
      f32([
        [1, 2],
        [3, 4],
        [5, 6],
      ]),
      f32([1, 2, 3, 4, 5, 6]),
      f32([
        [[1], [2], [3]],
        [[4], [5], [6]],
      ]),
      matrix,
    ],
    slopes: [ones(2, 3, 4)],
    gradientAt: [[points([2, 3], 1)], [extremes]],
    agreeAt: [
      [
        i64([
          [1, 2, 3],
          [4, 5, 6],
        ]),
      ],
      [
        i32([
          [1, 2, 3],
          [4, 5, 6],
        ]),
      ],
      [
        bool([
          [1, 0, 1],
          [0, 0, 1],
        ]),
      ],
    ],
    rejects: [
      [
        () => reshape(placeholder([2, 3]), [4]),
        /reshape: expected a shape of 6 elements, received \[4\] for \[2, 3\]/,
      ],
      [
        () => reshape(placeholder([2, 3]), [4, -1]),
        /reshape: expected a shape of 6 elements, received \[4, -1\] for \[2, 3\]/,
      ],
      [
        () => reshape(placeholder([2, 3]), [-1, -1]),
        /reshape: expected a shape of 6 elements, received \[-1, -1\] for \[2, 3\]/,
      ],
      [
        () => reshape(placeholder([0, 3]), [0, -1]),
        /reshape: expected non-negative integer dimensions, received \[0, -1\]/,
      ],
    ],
  },
  {
    title: 'reshape of scalars, single elements and no elements',
    covers: [],
    apply: (x, y, z) => [reshape(x!, [1, 1]), reshape(y!, []), reshape(z!, [3, 0, 2])],
    inputs: [f32(5), f32([7]), empty([0, 4])],
    outputs: [f32([[5]]), f32(7), empty([3, 0, 2])],
    slopes: [f32(1), f32([1]), empty([0, 4])],
    gradientAt: [[points([], 1), points([1], 2), empty([0])]],
  },
  {
    title: 'expandDims',
    covers: [expandDims],
    apply: (x) => [expandDims(x!, 0), expandDims(x!, 1), expandDims(x!, -1)],
    inputs: [f32([1, 2])],
    outputs: [f32([[1, 2]]), f32([[1], [2]]), f32([[1], [2]])],
    slopes: [f32([3, 3])],
    gradientAt: [[points([3], 1)], [points([1], 2)]],
    rejects: [
      [() => expandDims(placeholder([2]), 2), /expandDims: expected an axis in \[-2, 2\), received 2/],
    ],
  },
  {
    title: 'transpose',
    covers: [transpose, shape.transposeOp],
    apply: (x) => [transpose(x!), transpose(x!, [-1, 0]), transpose(x!, [0, 1])],
    inputs: [matrix],
    outputs: [
      f32([
        [1, 4],
        [2, 5],
        [3, 6],
      ]),
      f32([
        [1, 4],
        [2, 5],
        [3, 6],
      ]),
      matrix,
    ],
    slopes: [ones(2, 3, 3)],
    gradientAt: [[points([2, 3], 1)], [points([1, 3], 2)], [points([1, 1], 3)], [empty([0, 3])], [extremes]],
    agreeAt: [
      [
        i64([
          [1, 2, 3],
          [4, 5, 6],
        ]),
      ],
      [
        bool([
          [1, 0, 1],
          [0, 0, 1],
        ]),
      ],
    ],
    rejects: [
      [
        () => transpose(placeholder([2, 3]), [0]),
        /transpose: expected a permutation of 2 axes, received \[0\]/,
      ],
      [
        () => transpose(placeholder([2, 3]), [1, 1]),
        /transpose: expected a permutation of 2 axes, received \[1, 1\]/,
      ],
      [() => transpose(placeholder([2, 3]), [0, 2]), /transpose: expected an axis in \[-2, 2\), received 2/],
    ],
  },
  {
    title: 'transpose of rank 3: [2, 1, 0] and a cycle, whose inverse is another',
    covers: [],
    // x[i, j, k] = 4i + 2j + k.
    apply: (x) => [transpose(x!, [2, 1, 0]), transpose(x!, [1, 2, 0]), transpose(x!)],
    inputs: [
      f32([
        [
          [0, 1],
          [2, 3],
        ],
        [
          [4, 5],
          [6, 7],
        ],
      ]),
    ],
    outputs: [
      f32([
        [
          [0, 4],
          [2, 6],
        ],
        [
          [1, 5],
          [3, 7],
        ],
      ]),
      f32([
        [
          [0, 4],
          [1, 5],
        ],
        [
          [2, 6],
          [3, 7],
        ],
      ]),
      f32([
        [
          [0, 2],
          [1, 3],
        ],
        [
          [4, 6],
          [5, 7],
        ],
      ]),
    ],
    gradientAt: [[points([2, 3, 4], 1)], [points([1, 2, 3], 2)], [empty([2, 0, 3])]],
  },
  {
    title: 'broadcastTo',
    covers: [broadcastTo, shape.broadcastToOp],
    apply: (x, y) => [broadcastTo(x!, [2, 3]), broadcastTo(y!, [2, 2]), broadcastTo(x!, [3])],
    inputs: [f32([1, 2, 3]), f32([[5], [6]])],
    outputs: [
      f32([
        [1, 2, 3],
        [1, 2, 3],
      ]),
      f32([
        [5, 5],
        [6, 6],
      ]),
      f32([1, 2, 3]),
    ],
    slopes: [f32([3, 3, 3]), f32([[2], [2]])],
    gradientAt: [
      [points([3], 1), points([2, 1], 2)],
      [f32([1e4, -1e4, 0]), f32([[1e4], [-1e4]])],
    ],
    agreeAt: [
      [i64([1, 2, 3]), i32([[5], [6]])],
      [bool([1, 0, 1]), bool([[1], [0]])],
    ],
    rejects: [
      [
        () => broadcastTo(placeholder([2]), [2, 3]),
        /broadcastTo: expected a shape that broadcasts to \[2, 3\], received \[2\]/,
      ],
      [
        () => broadcastTo(placeholder([2, 3]), [3]),
        /broadcastTo: expected a shape that broadcasts to \[3\], received \[2, 3\]/,
      ],
    ],
  },
  {
    title: 'broadcastTo from a scalar, from one element and to no elements',
    covers: [],
    apply: (x, y) => [
      broadcastTo(x!, [2, 2]),
      broadcastTo(y!, [3]),
      broadcastTo(y!, [0]),
      broadcastTo(x!, [2, 0]),
    ],
    inputs: [f32(4), f32([5])],
    outputs: [
      f32([
        [4, 4],
        [4, 4],
      ]),
      f32([5, 5, 5]),
      empty([0]),
      empty([2, 0]),
    ],
    slopes: [f32(4), f32([3])],
    gradientAt: [[points([], 1), points([1], 2)]],
  },
  {
    title: 'slice',
    covers: [slice, shape.sliceOp],
    apply: (x) => [
      slice(x!, [0, 1], [2, 2]),
      slice(x!, [1, 0], [1, 3]),
      slice(x!, [1, 2], [1, 1]),
      slice(x!, [0, 3], [2, 0]),
    ],
    inputs: [matrix],
    outputs: [
      f32([
        [2, 3],
        [5, 6],
      ]),
      f32([[4, 5, 6]]),
      f32([[6]]),
      empty([2, 0]),
    ],
    slopes: [
      f32([
        [0, 1, 1],
        [1, 2, 3],
      ]),
    ],
    gradientAt: [[points([2, 3], 1)], [extremes]],
    agreeAt: [
      [
        i64([
          [1, 2, 3],
          [4, 5, 6],
        ]),
      ],
      [
        bool([
          [1, 0, 1],
          [0, 0, 1],
        ]),
      ],
    ],
    rejects: [
      [
        () => slice(placeholder([2, 3]), [0, 2], [2, 2]),
        /slice: expected starts and sizes inside \[2, 3\], received starts \[0, 2\], sizes \[2, 2\]/,
      ],
      [
        () => slice(placeholder([2, 3]), [-1, 0], [1, 3]),
        /slice: expected starts and sizes inside \[2, 3\], received starts \[-1, 0\]/,
      ],
      [
        () => slice(placeholder([2, 3]), [0], [1]),
        /slice: expected starts and sizes inside \[2, 3\], received starts \[0\], sizes \[1\]/,
      ],
    ],
  },
  {
    title: 'sliceAxis',
    covers: [sliceAxis],
    apply: (x) => [sliceAxis(x!, 0, 1, 2), sliceAxis(x!, -1, 0, -1), sliceAxis(x!, 1, 0, 3)],
    inputs: [matrix],
    outputs: [
      f32([[4, 5, 6]]),
      f32([
        [1, 2],
        [4, 5],
      ]),
      matrix,
    ],
    slopes: [
      f32([
        [2, 2, 1],
        [3, 3, 2],
      ]),
    ],
    gradientAt: [[points([2, 3], 1)]],
    rejects: [
      [() => sliceAxis(placeholder([2, 3]), 2, 0, 1), /sliceAxis: expected an axis in \[-2, 2\), received 2/],
      [
        () => sliceAxis(placeholder([2, 3]), 0, 0, 3),
        /slice: expected starts and sizes inside \[2, 3\], received starts \[0, 0\], sizes \[3, 3\]/,
      ],
    ],
  },
  {
    title: 'pad',
    covers: [pad, shape.padOp],
    apply: (x) => [pad(x!, [1, 0], [0, 2]), pad(x!, [0, 1], [0, 0], 9), pad(x!, [0, 0], [0, 0], 9)],
    inputs: [f32([[1, 2]])],
    outputs: [
      f32([
        [0, 0, 0, 0],
        [1, 2, 0, 0],
      ]),
      f32([[9, 1, 2]]),
      f32([[1, 2]]),
    ],
    slopes: [f32([[3, 3]])],
    gradientAt: [[points([2, 3], 1)], [points([1, 1], 2)], [empty([0, 2])], [extremes]],
    agreeAt: [[i64([[1, 2]])], [i32([[1, 2]])]],
    rejects: [
      [
        () => pad(placeholder([2]), [1, 1], [0, 0]),
        /pad: expected 1 paddings before and after, received 2 and 2/,
      ],
      [
        () => pad(placeholder([2]), [-1], [0]),
        /pad: expected non-negative integer paddings, received \[-1\] and \[0\]/,
      ],
      [
        () => pad(placeholder([2]), [0], [0.5]),
        /pad: expected non-negative integer paddings, received \[0\] and \[0\.5\]/,
      ],
    ],
  },
  {
    title: 'pad of booleans and with −Infinity',
    covers: [],
    apply: (x, y) => [pad(x!, [1], [1], 1), pad(y!, [0], [2], Number.NEGATIVE_INFINITY)],
    inputs: [bool([0, 0]), f32([3])],
    outputs: [bool([1, 0, 0, 1]), f32([3, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY])],
  },
  {
    title: 'concat',
    covers: [concat, shape.concatOp],
    apply: (x, y, z) => [concat([x!, y!], 0), concat([x!, z!, x!], -1), concat([x!], 0)],
    inputs: [
      f32([[1, 2]]),
      f32([
        [3, 4],
        [5, 6],
      ]),
      f32([[7]]),
    ],
    outputs: [
      f32([
        [1, 2],
        [3, 4],
        [5, 6],
      ]),
      f32([[1, 2, 7, 1, 2]]),
      f32([[1, 2]]),
    ],
    slopes: [
      f32([[4, 4]]),
      f32([
        [1, 1],
        [1, 1],
      ]),
      f32([[1]]),
    ],
    gradientAt: [
      [points([1, 2], 1), points([3, 2], 2), points([1, 1], 3)],
      [points([1, 2], 4), empty([0, 2]), empty([1, 0])],
      [f32([[1e4, -1e4]]), f32([[1e4, 0]]), f32([[-1e4]])],
    ],
    agreeAt: [
      [i64([[1, 2]]), i64([[3, 4]]), i64([[5]])],
      [bool([[1, 0]]), bool([[0, 0]]), bool([[1]])],
    ],
    rejects: [
      [() => concat([], 0), /concat: expected at least one tensor, received none/],
      [
        () => concat([placeholder([2, 3]), placeholder([2, 2])], 0),
        /concat: expected shapes equal to \[2, 3\] but for axis 0, received \[2, 2\]/,
      ],
      [
        () => concat([placeholder([2]), placeholder([2], 'int64')], 0),
        /concat: expected operands of one dtype, received float32 and int64/,
      ],
      [
        () => concat([placeholder([]), placeholder([])], 0),
        /concat: expected an axis in \[0, 0\), received 0/,
      ],
    ],
  },
  {
    title: 'patchify',
    covers: [patchify],
    apply: (x) => patchify(x!, 2),
    // Two channels of 2 × 4 pixels: two squares, each all of channel 0 and then all of channel 1.
    inputs: [
      f32([
        [
          [
            [1, 2, 3, 4],
            [5, 6, 7, 8],
          ],
          [
            [10, 20, 30, 40],
            [50, 60, 70, 80],
          ],
        ],
      ]),
    ],
    outputs: [
      f32([
        [
          [1, 2, 5, 6, 10, 20, 50, 60],
          [3, 4, 7, 8, 30, 40, 70, 80],
        ],
      ]),
    ],
    gradientAt: [[points([2, 3, 4, 6], 1)]],
    agreeAt: [[points([2, 3, 4, 6], 2)], [empty([0, 1, 2, 2])]],
    rejects: [
      [
        () => patchify(placeholder([1, 1, 4, 5]), 2),
        /patchify: expected height and width that are multiples of 2, received 4 × 5\. Resize/,
      ],
      [() => patchify(placeholder([1, 4, 4]), 2), /patchify/],
      [() => patchify(placeholder([1, 1, 4, 4]), 0), /multiples of 0/],
    ],
  },
];

testOps('shape', shape, rows);
