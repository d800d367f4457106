import { describe, expect, it } from 'vitest';
import { type OpRow, testOps } from '../../../test/support/op-rows.ts';
import { bool, empty, f32, i32, i64, placeholder, points } from '../../../test/support/samples.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { trace } from '../program.ts';
import { full } from './elementwise.ts';
import * as indexing from './indexing.ts';

const { gather, embedding, scatterAddRows, takeAlong, scatterAddAlong, pick } = indexing;

const table = f32([
  [1, 2],
  [3, 4],
  [5, 6],
]);

const rows: readonly OpRow[] = [
  {
    title: 'gather, embedding',
    covers: [gather, embedding, indexing.gatherOp],
    apply: (x, ids) => [gather(x!, ids!), embedding(x!, ids!)],
    inputs: [table, i64([2, 0, 2])],
    outputs: [
      f32([
        [5, 6],
        [1, 2],
        [5, 6],
      ]),
      f32([
        [5, 6],
        [1, 2],
        [5, 6],
      ]),
    ],
    // Twice how often each row is read.
    slopes: [
      f32([
        [2, 2],
        [0, 0],
        [4, 4],
      ]),
    ],
    gradientAt: [
      [
        points([3, 2], 1),
        i64([
          [0, 2, 2],
          [1, 1, 1],
        ]),
      ],
      [points([3], 2), i64([1, 1])],
      [points([3, 2, 2], 3), i64(1)],
      [points([1, 1], 4), i64([0])],
      [points([2, 3], 5), empty([0], 'int64')],
      [
        f32([
          [1e4, -1e4],
          [0, 1],
        ]),
        i64([0, 1, 0]),
      ],
    ],
    agreeAt: [
      [table, i32([2, 0])],
      [
        i64([
          [1, 2],
          [3, 4],
        ]),
        i64([1, 0]),
      ],
      [bool([1, 0]), i64([1, 0])],
    ],
    rejects: [
      [
        () => gather(placeholder([3, 2]), placeholder([2])),
        /gather\(indices\): expected a tensor of int32 or int64, received float32\[2\]/,
      ],
      [
        () => gather(placeholder([]), placeholder([2], 'int64')),
        /gather: expected a table of rank 1 or more, received a scalar/,
      ],
    ],
  },
  {
    title: 'scatterAddRows',
    covers: [scatterAddRows, indexing.scatterAddRowsOp],
    apply: (ids, x) => scatterAddRows(ids!, x!, 3),
    inputs: [i64([2, 0, 2]), table],
    outputs: [
      f32([
        [3, 4],
        [0, 0],
        [6, 8],
      ]),
    ],
    slopes: [
      f32([
        [1, 1],
        [1, 1],
        [1, 1],
      ]),
    ],
    gradientAt: [
      [i64([1, 1, 1]), points([3, 2], 1)],
      [
        i64([
          [0, 2],
          [2, 0],
        ]),
        points([2, 2, 3], 2),
      ],
      [i64([0, 1]), points([2], 3)],
      [i64(1), points([2, 2], 4)],
      [i64([2]), points([1, 1], 5)],
      [empty([0], 'int64'), empty([0, 2])],
      [
        i64([0, 0]),
        f32([
          [1e4, -1e4],
          [1e4, 1],
        ]),
      ],
    ],
    agreeAt: [
      [i32([2, 0, 2]), table],
      [i64([0, 1]), empty([2, 0])],
    ],
    rejects: [
      [
        () => scatterAddRows(placeholder([3], 'int64'), placeholder([2, 2]), 4),
        /scatterAddRows: expected updates that begin with \[3\], received \[2, 2\]/,
      ],
      [
        () => scatterAddRows(placeholder([3]), placeholder([3, 2]), 4),
        /scatterAddRows\(indices\): expected a tensor of int32 or int64, received float32\[3\]/,
      ],
      [
        () => scatterAddRows(placeholder([3], 'int64'), placeholder([3, 2], 'int64'), 4),
        /scatterAddRows\(updates\): expected a tensor of float32, received int64\[3, 2\]/,
      ],
      [
        () => scatterAddRows(placeholder([3], 'int64'), placeholder([3, 2]), -1),
        /scatterAddRows: expected non-negative integer dimensions, received \[-1, 2\]/,
      ],
    ],
  },
  {
    title: 'takeAlong',
    covers: [takeAlong, indexing.takeAlongOp],
    apply: (x, ids) => takeAlong(x!, ids!),
    inputs: [
      f32([
        [1, 2, 3],
        [4, 5, 6],
      ]),
      i64([
        [2, 2],
        [0, 1],
      ]),
    ],
    outputs: [
      f32([
        [3, 3],
        [4, 5],
      ]),
    ],
    slopes: [
      f32([
        [0, 0, 2],
        [1, 1, 0],
      ]),
    ],
    gradientAt: [
      [
        points([2, 3], 1),
        i64([
          [0, 0, 0, 2],
          [1, 2, 0, 1],
        ]),
      ],
      [points([1, 1], 2), i64([[0]])],
      [points([2, 1, 3], 3), i64([[[2]], [[0]]])],
      [empty([0, 3]), empty([0, 2], 'int64')],
      [points([2, 3], 4), empty([2, 0], 'int64')],
      [f32([[1e4, -1e4]]), i64([[1, 1]])],
    ],
    agreeAt: [
      [
        i64([
          [1, 2, 3],
          [4, 5, 6],
        ]),
        i32([
          [2, 2],
          [0, 1],
        ]),
      ],
    ],
    rejects: [
      [
        () => takeAlong(placeholder([2, 3]), placeholder([3, 1], 'int64')),
        /takeAlong: expected indices shaped like \[2, 3\] but for axis 1, received \[3, 1\]/,
      ],
      [
        () => takeAlong(placeholder([2, 3]), placeholder([2], 'int64')),
        /takeAlong: expected indices shaped like \[2, 3\] but for axis 1, received \[2\]/,
      ],
      [
        () => takeAlong(placeholder([2, 3]), placeholder([2, 1])),
        /takeAlong\(indices\): expected a tensor of int32 or int64, received float32\[2, 1\]/,
      ],
      [
        () => takeAlong(placeholder([2]), placeholder([2], 'int64'), 1),
        /takeAlong: expected an axis in \[-1, 1\), received 1/,
      ],
    ],
  },
  {
    title: 'takeAlong the first axis',
    covers: [],
    apply: (x, ids) => takeAlong(x!, ids!, 0),
    inputs: [
      f32([
        [1, 2],
        [3, 4],
      ]),
      i64([
        [1, 0],
        [1, 1],
        [0, 0],
      ]),
    ],
    outputs: [
      f32([
        [3, 2],
        [3, 4],
        [1, 2],
      ]),
    ],
    slopes: [
      f32([
        [1, 2],
        [2, 1],
      ]),
    ],
    gradientAt: [[points([2, 2], 1), i64([[1, 0]])]],
  },
  {
    title: 'scatterAddAlong',
    covers: [scatterAddAlong, indexing.scatterAddAlongOp],
    apply: (x, ids, updates) => scatterAddAlong(x!, ids!, updates!),
    inputs: [
      f32([
        [1, 2, 3],
        [4, 5, 6],
      ]),
      i64([
        [2, 2],
        [0, 1],
      ]),
      f32([
        [10, 20],
        [30, 40],
      ]),
    ],
    outputs: [
      f32([
        [1, 2, 33],
        [34, 45, 6],
      ]),
    ],
    slopes: [
      f32([
        [1, 1, 1],
        [1, 1, 1],
      ]),
      f32([
        [1, 1],
        [1, 1],
      ]),
    ],
    gradientAt: [
      [
        points([2, 3], 1),
        i64([
          [2, 2, 0, 1],
          [1, 1, 1, 1],
        ]),
        points([2, 4], 2),
      ],
      [points([1], 3), i64([0]), points([1], 4)],
      [points([2, 1, 2], 5), i64([[[1]], [[0]]]), points([2, 1, 1], 6)],
      [empty([0, 3]), empty([0, 2], 'int64'), empty([0, 2])],
      [points([2, 3], 7), empty([2, 0], 'int64'), empty([2, 0])],
      [f32([[1e4, -1e4]]), i64([[1, 1]]), f32([[1e4, 1]])],
    ],
    agreeAt: [
      [
        f32([
          [1, 2],
          [3, 4],
        ]),
        i32([[0], [1]]),
        f32([[10], [20]]),
      ],
    ],
    rejects: [
      [
        () => scatterAddAlong(placeholder([2, 3]), placeholder([2, 2], 'int64'), placeholder([2, 1])),
        /scatterAddAlong: expected updates shaped like the indices \[2, 2\], received \[2, 1\]/,
      ],
      [
        () => scatterAddAlong(placeholder([2, 3]), placeholder([4, 2], 'int64'), placeholder([4, 2])),
        /scatterAddAlong: expected indices shaped like \[2, 3\] but for axis 1, received \[4, 2\]/,
      ],
      [
        () => scatterAddAlong(placeholder([2, 3]), placeholder([2], 'int64'), placeholder([2])),
        /scatterAddAlong: expected indices shaped like \[2, 3\] but for axis 1, received \[2\]/,
      ],
      [
        () =>
          scatterAddAlong(placeholder([2, 3]), placeholder([2, 1], 'int64'), placeholder([2, 1], 'int64')),
        /scatterAddAlong\(updates\): expected a tensor of float32, received int64\[2, 1\]/,
      ],
      [
        () =>
          scatterAddAlong(placeholder([2, 3], 'int64'), placeholder([2, 1], 'int64'), placeholder([2, 1])),
        /scatterAddAlong\(x\): expected a tensor of float32, received int64\[2, 3\]/,
      ],
    ],
  },
  {
    title: 'pick',
    covers: [pick],
    apply: (x, ids) => pick(x!, ids!),
    inputs: [
      f32([
        [1, 2, 3],
        [4, 5, 6],
      ]),
      i64([2, 0]),
    ],
    outputs: [f32([3, 4])],
    slopes: [
      f32([
        [0, 0, 1],
        [1, 0, 0],
      ]),
    ],
    gradientAt: [
      [points([2, 3], 1), i64([0, 2])],
      [
        points([2, 2, 3], 2),
        i64([
          [0, 1],
          [2, 2],
        ]),
      ],
      [points([3], 3), i64(1)],
      [points([1, 1], 4), i64([0])],
      [empty([0, 3]), empty([0], 'int64')],
    ],
    rejects: [
      [
        () => pick(placeholder([2, 3]), placeholder([3], 'int64')),
        /pick: expected ids of shape \[2\], the leading dimensions of \[2, 3\], received \[3\]/,
      ],
      [
        () => pick(placeholder([]), placeholder([], 'int64')),
        /pick: expected a tensor of rank 1 or more, received a scalar/,
      ],
    ],
  },
];

testOps('indexing', indexing, rows);

describe('an index outside of the table', () => {
  const int64 = (shape: readonly number[]) => ({ dtype: 'int64' as const, shape });
  const float32 = (shape: readonly number[]) => ({ dtype: 'float32' as const, shape });
  const cases = {
    gather: trace({ x: float32([3, 2]), ids: int64([1]) }, ({ x, ids }) => ({ y: gather(x, ids) })),
    scatterAddRows: trace({ x: float32([1, 2]), ids: int64([1]) }, ({ x, ids }) => ({
      y: scatterAddRows(ids, x, 3),
    })),
    takeAlong: trace({ x: float32([3]), ids: int64([1]) }, ({ x, ids }) => ({ y: takeAlong(x, ids) })),
    scatterAddAlong: trace({ x: float32([3]), ids: int64([1]) }, ({ x, ids }) => ({
      y: scatterAddAlong(x, ids, full([1], 1)),
    })),
  };
  it.each(Object.entries(cases))('%s names it and the size', async (name, program) => {
    const executable = await createInterpreter().compile(program);
    const x = new Float32Array(program.inputs[0]!.tensor.shape.reduce((size, d) => size * d, 1));
    for (const id of [3n, -1n]) {
      await expect(executable.run({ x, ids: BigInt64Array.of(id) })).rejects.toThrow(
        new RegExp(
          `${name}: expected indices in \\[0, 3\\), received ${id}. Check token ids against the vocabulary size`,
        ),
      );
    }
  });
});

describe('scatterAddRows in ONNX Runtime on two threads', () => {
  it('adds equal rows one after the other: 2048 rows of ones into one row are 2048, every time', async () => {
    const engine = createOrtEngine({ threads: 2 });
    const program = trace(
      { ids: { dtype: 'int64', shape: [2048] }, x: { dtype: 'float32', shape: [2048, 64] } },
      ({ ids, x }) => ({ y: scatterAddRows(ids, x, 8) }),
    );
    const executable = await engine.compile(program);
    const binding = executable.bind({
      ids: new BigInt64Array(2048).fill(5n),
      x: new Float32Array(2048 * 64).fill(1),
    });
    const wanted = Float32Array.from({ length: 8 * 64 }, (_, i) => (Math.floor(i / 64) === 5 ? 2048 : 0));
    for (let run = 0; run < 20; run++) {
      binding.runSync();
      expect(binding.outputs.y!.data).toEqual(wanted);
    }
    engine.dispose();
  });
});
