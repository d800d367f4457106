/** Operations that move elements without changing them. */
import { ShapeError } from '../../core/errors.ts';
import {
  checkShapes,
  formatShape,
  normalizeAxis,
  type Shape,
  sameShape,
  sizeOf,
  stridesOf,
} from '../../core/shapes.ts';
import { applyOne, type Op, type Tensor, type Value } from '../tensor.ts';
import { broadcastIndex, requireSameDType, value } from './common.ts';
import { sumTo } from './reduce.ts';

export const reshapeOp: Op<{ shape: Shape }> = {
  name: 'reshape',
  infer([x], { shape }) {
    if (sizeOf(x!.shape) !== sizeOf(shape)) {
      throw new ShapeError({
        where: 'reshape',
        expected: `a shape of ${sizeOf(x!.shape)} elements`,
        received: `${formatShape(shape)} for ${formatShape(x!.shape)}`,
      });
    }
    return [{ dtype: x!.dtype, shape }];
  },
  evaluate: ([x], { shape }) => [value(x!.data, shape)],
  gradient: ({ inputs: [x], cotangents: [g] }) => [reshape(g!, x!.shape)],
  lower: (lowering, [x], { attributes: { shape } }) => lowering.node('Reshape', [x!, lowering.ints(shape)]),
};
/** Same elements in row-major order under another shape; one dimension may be -1. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const open = shape.indexOf(-1);
  let target = shape;
  if (open >= 0) {
    const rest = shape.reduce((size, d, axis) => (axis === open ? size : size * d), 1);
    const size = sizeOf(x.shape) / rest;
    // Otherwise -1 stays, and the shape rule rejects what the caller wrote.
    if (Number.isInteger(size) && size >= 0) target = shape.map((d, axis) => (axis === open ? size : d));
  }
  return sameShape(x.shape, target) ? x : applyOne(reshapeOp, [x], { shape: target });
}
/** Inserts an axis of size 1. */
export function expandDims(x: Tensor, axis: number): Tensor {
  const at = normalizeAxis('expandDims', axis, x.rank + 1);
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

export const transposeOp: Op<{ permutation: readonly number[] }> = {
  name: 'transpose',
  infer([x], { permutation }) {
    requirePermutation(permutation, x!.shape.length);
    return [{ dtype: x!.dtype, shape: permutation.map((axis) => x!.shape[axis]!) }];
  },
  evaluate([x], { permutation }, [y]) {
    const out = new Float64Array(x!.data.length);
    const source = stridesOf(x!.shape);
    const target = stridesOf(y!.shape);
    for (let i = 0; i < out.length; i++) {
      let flat = 0;
      for (let axis = 0; axis < target.length; axis++) {
        flat += (Math.floor(i / target[axis]!) % y!.shape[axis]!) * source[permutation[axis]!]!;
      }
      out[i] = x!.data[flat]!;
    }
    return [value(out, y!.shape)];
  },
  gradient({ cotangents: [g], attributes: { permutation } }) {
    const inverse = new Array<number>(permutation.length);
    permutation.forEach((axis, position) => {
      inverse[axis] = position;
    });
    return [transpose(g!, inverse)];
  },
  lower: (lowering, [x], { attributes: { permutation } }) =>
    lowering.node('Transpose', [x!], { attributes: { perm: { ints: permutation } } }),
};
function requirePermutation(permutation: readonly number[], rank: number): void {
  if (permutation.length !== rank || new Set(permutation).size !== rank) {
    throw new ShapeError({
      where: 'transpose',
      expected: `a permutation of ${rank} axes`,
      received: formatShape(permutation),
    });
  }
}

/** Reorders axes: output axis i is input axis `permutation[i]`; reverses the last two when left out. */
export function transpose(x: Tensor, permutation?: readonly number[]): Tensor {
  const order =
    permutation ?? [...x.shape.keys()].map((axis) => (axis < x.rank - 2 ? axis : 2 * x.rank - 3 - axis));
  const normalized = order.map((axis) => normalizeAxis('transpose', axis, x.rank));
  requirePermutation(normalized, x.rank);
  return normalized.every((axis, position) => axis === position)
    ? x
    : applyOne(transposeOp, [x], { permutation: normalized });
}

export const broadcastToOp: Op<{ shape: Shape }> = {
  name: 'broadcastTo',
  infer([x], { shape }) {
    const lead = shape.length - x!.shape.length;
    if (lead < 0 || !x!.shape.every((size, axis) => size === 1 || size === shape[axis + lead])) {
      throw new ShapeError({
        where: 'broadcastTo',
        expected: `a shape that broadcasts to ${formatShape(shape)}`,
        received: formatShape(x!.shape),
      });
    }
    return [{ dtype: x!.dtype, shape }];
  },
  evaluate([x], { shape }) {
    const index = broadcastIndex(x!.shape, shape);
    const out = new Float64Array(sizeOf(shape));
    for (let i = 0; i < out.length; i++) out[i] = x!.data[index(i)]!;
    return [value(out, shape)];
  },
  gradient: ({ inputs: [x], cotangents: [g] }) => [sumTo(g!, x!.shape)],
  lower: (lowering, [x], { attributes: { shape } }) => lowering.node('Expand', [x!, lowering.ints(shape)]),
};
/** Repeats size-1 (or missing leading) axes. */
export const broadcastTo = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) ? x : applyOne(broadcastToOp, [x], { shape });

interface SliceAttributes {
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
}

export const sliceOp: Op<SliceAttributes> = {
  name: 'slice',
  infer([x], { starts, sizes }) {
    const fits =
      starts.length === x!.shape.length &&
      sizes.length === x!.shape.length &&
      x!.shape.every(
        (size, axis) => starts[axis]! >= 0 && sizes[axis]! >= 0 && starts[axis]! + sizes[axis]! <= size,
      );
    if (!fits) {
      throw new ShapeError({
        where: 'slice',
        expected: `starts and sizes inside ${formatShape(x!.shape)}`,
        received: `starts ${formatShape(starts)}, sizes ${formatShape(sizes)}`,
      });
    }
    return [{ dtype: x!.dtype, shape: sizes }];
  },
  evaluate: ([x], { starts, sizes }) => [
    copyBlock(x!, starts, new Float64Array(sizeOf(sizes)), sizes, [], sizes),
  ],
  gradient: ({ inputs: [x], cotangents: [g], attributes: { starts, sizes } }) => [
    pad(
      g!,
      starts,
      x!.shape.map((size, axis) => size - starts[axis]! - sizes[axis]!),
    ),
  ],
  lower(lowering, [x], { inputs, attributes: { starts, sizes } }) {
    const axes = [...starts.keys()].filter((axis) => sizes[axis] !== inputs[0]!.shape[axis]);
    return lowering.node('Slice', [
      x!,
      lowering.ints(axes.map((axis) => starts[axis]!)),
      lowering.ints(axes.map((axis) => starts[axis]! + sizes[axis]!)),
      lowering.ints(axes),
    ]);
  },
};
/** The block of `sizes` elements that begins at `starts`. */
export const slice = (x: Tensor, starts: readonly number[], sizes: readonly number[]): Tensor =>
  sameShape(x.shape, sizes) ? x : applyOne(sliceOp, [x], { starts, sizes });
/** Elements `start` to `end` (not included) of one axis; a negative end counts from the back. */
export function sliceAxis(x: Tensor, axis: number, start: number, end: number): Tensor {
  const at = normalizeAxis('sliceAxis', axis, x.rank);
  const stop = end < 0 ? x.shape[at]! + end : end;
  return slice(
    x,
    x.shape.map((_, a) => (a === at ? start : 0)),
    x.shape.map((size, a) => (a === at ? stop - start : size)),
  );
}

/** Copies a block of `source` at `from` (default 0) into `target` at `to` (default 0). */
function copyBlock(
  source: Value,
  from: readonly number[],
  target: Float64Array,
  targetShape: Shape,
  to: readonly number[],
  sizes: Shape,
): Value {
  const sourceStrides = stridesOf(source.shape);
  const targetStrides = stridesOf(targetShape);
  const blockStrides = stridesOf(sizes);
  for (let i = 0; i < sizeOf(sizes); i++) {
    let s = 0;
    let t = 0;
    for (let axis = 0; axis < sizes.length; axis++) {
      const index = Math.floor(i / blockStrides[axis]!) % sizes[axis]!;
      s += (index + (from[axis] ?? 0)) * sourceStrides[axis]!;
      t += (index + (to[axis] ?? 0)) * targetStrides[axis]!;
    }
    target[t] = source.data[s]!;
  }
  return value(target, targetShape);
}

interface PadAttributes {
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly fill: number;
}

export const padOp: Op<PadAttributes> = {
  name: 'pad',
  infer([x], { before, after }) {
    if (before.length !== x!.shape.length || after.length !== x!.shape.length) {
      throw new ShapeError({
        where: 'pad',
        expected: `${x!.shape.length} paddings before and after`,
        received: `${before.length} and ${after.length}`,
      });
    }
    if (![...before, ...after].every((count) => Number.isInteger(count) && count >= 0)) {
      throw new ShapeError({
        where: 'pad',
        expected: 'non-negative integer paddings',
        received: `${formatShape(before)} and ${formatShape(after)}`,
        fix: 'Use slice() to remove elements',
      });
    }
    return [{ dtype: x!.dtype, shape: x!.shape.map((size, axis) => before[axis]! + size + after[axis]!) }];
  },
  evaluate: ([x], { before, fill }, [y]) => [
    copyBlock(x!, [], new Float64Array(sizeOf(y!.shape)).fill(fill), y!.shape, before, x!.shape),
  ],
  gradient: ({ inputs: [x], cotangents: [g], attributes: { before } }) => [slice(g!, before, x!.shape)],
  lower: (lowering, [x], { inputs, attributes: { before, after, fill } }) =>
    lowering.node('Pad', [x!, lowering.ints([...before, ...after]), lowering.scalar(fill, inputs[0]!.dtype)]),
};
/** Surrounds `x` with `before` and `after` elements of `fill` on each axis. */
export const pad = (x: Tensor, before: readonly number[], after: readonly number[], fill = 0): Tensor =>
  [...before, ...after].every((count) => count === 0) ? x : applyOne(padOp, [x], { before, after, fill });

export const concatOp: Op<{ axis: number }> = {
  name: 'concat',
  infer(inputs, { axis }) {
    const [first] = inputs;
    for (const x of inputs) {
      requireSameDType('concat', first!, x);
      if (
        x.shape.length !== first!.shape.length ||
        x.shape.some((d, a) => a !== axis && d !== first!.shape[a])
      ) {
        throw new ShapeError({
          where: 'concat',
          expected: `shapes equal to ${formatShape(first!.shape)} but for axis ${axis}`,
          received: formatShape(x.shape),
        });
      }
    }
    const total = inputs.reduce((size, x) => size + x.shape[axis]!, 0);
    return [{ dtype: first!.dtype, shape: first!.shape.map((d, a) => (a === axis ? total : d)) }];
  },
  evaluate(inputs, { axis }, [y]) {
    const out = new Float64Array(sizeOf(y!.shape));
    let offset = 0;
    for (const x of inputs) {
      copyBlock(
        x,
        [],
        out,
        y!.shape,
        x.shape.map((_, a) => (a === axis ? offset : 0)),
        x.shape,
      );
      offset += x.shape[axis]!;
    }
    return [value(out, y!.shape)];
  },
  gradient({ inputs, cotangents: [g], attributes: { axis } }) {
    let offset = 0;
    return inputs.map((x) => {
      const part = sliceAxis(g!, axis, offset, offset + x.shape[axis]!);
      offset += x.shape[axis]!;
      return part;
    });
  },
  lower: (lowering, inputs, { attributes: { axis } }) =>
    lowering.node('Concat', inputs, { attributes: { axis: { int: axis } } }),
};
/** Joins tensors along an axis. */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  const [first] = tensors;
  if (first === undefined)
    throw new ShapeError({ where: 'concat', expected: 'at least one tensor', received: 'none' });
  if (tensors.length === 1) return first;
  return applyOne(concatOp, tensors, { axis: normalizeAxis('concat', axis, first.rank) });
}

/**
 * Cuts pictures into the squares that a strided convolution reads: x [B, C, H, W] → [B, N, C·size²], N = (H/size)·(W/size)
 * squares row by row, each with its numbers in the order (channel, row, column) of a convolution's kernel. A product with
 * the kernel [D, C·size²] then is the convolution of stride `size` (ViT's patch embedding).
 *
 * @param size pixels along a side of a square
 * @throws ShapeError when x has no four axes, or H or W is no multiple of `size`
 * @source Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", section 3.1
 * @example patchify(x, 2); // x [1, 1, 4, 4] → [1, 4, 4]; the square at the top left is x[0, 0, 0:2, 0:2]
 */
export function patchify(x: Tensor, size: number): Tensor {
  const { B, C, H, W } = checkShapes('patchify', { x: [x, 'B C H W'] }) as Record<
    'B' | 'C' | 'H' | 'W',
    number
  >;
  if (!Number.isInteger(size) || size < 1 || H % size !== 0 || W % size !== 0) {
    throw new ShapeError({
      where: 'patchify',
      expected: `height and width that are multiples of ${size}`,
      received: `${H} × ${W}`,
      fix: 'Resize the picture, or choose another size of its squares',
    });
  }
  const cut = reshape(x, [B, C, H / size, size, W / size, size]);
  const squares = transpose(cut, [0, 2, 4, 1, 3, 5]); // [B, H/size, W/size, C, size, size]
  return reshape(squares, [B, (H / size) * (W / size), C * size * size]);
}
