/** Reductions, cumulative sums, and selections of the largest elements. */
import { ShapeError } from '../../core/errors.ts';
import { formatShape, normalizeAxis, type Shape, sameShape, sizeOf, stridesOf } from '../../core/shapes.ts';
import { apply, applyOne, type Op, type Tensor, type TensorType, type Value } from '../tensor.ts';
import { requireDType, requireElements, value } from './common.ts';
import { cast, div, equal, mul, neg, sub } from './elementwise.ts';
import { broadcastTo, reshape } from './shape.ts';

export interface ReduceOptions {
  /** Axes to reduce; all of them when left out. Negative counts from the end. */
  readonly axes?: number | readonly number[];
  /** Keep reduced axes with size 1. */
  readonly keepDims?: boolean;
}

interface ReduceAttributes {
  readonly axes: readonly number[];
}

const reducedShape = (shape: Shape, axes: readonly number[]): number[] =>
  shape.map((size, axis) => (axes.includes(axis) ? 1 : size));

/** Folds `x` over `axes`, keeping them with size 1. */
function fold(
  x: Value,
  axes: readonly number[],
  start: number,
  step: (total: number, x: number) => number,
): Value {
  const shape = reducedShape(x.shape, axes);
  const out = new Float64Array(sizeOf(shape)).fill(start);
  const strides = stridesOf(x.shape);
  const outStrides = stridesOf(shape).map((stride, axis) => (axes.includes(axis) ? 0 : stride));
  for (let i = 0; i < x.data.length; i++) {
    let flat = 0;
    for (let axis = 0; axis < shape.length; axis++) {
      flat += (Math.floor(i / strides[axis]!) % x.shape[axis]!) * outStrides[axis]!;
    }
    out[flat] = step(out[flat]!, x.data[i]!);
  }
  return value(out, shape);
}

function reduction(
  name: string,
  onnx: string,
  start: number,
  step: (total: number, x: number) => number,
  gradient: (x: Tensor, y: Tensor, g: Tensor, axes: readonly number[]) => Tensor,
): Op<ReduceAttributes> {
  return {
    name,
    infer([x], { axes }) {
      requireDType(name, x!, ['float32', 'int32', 'int64']);
      if (start !== 0) requireElements(name, x!, axes);
      return [{ dtype: x!.dtype, shape: reducedShape(x!.shape, axes) }];
    },
    evaluate: ([x], { axes }) => [fold(x!, axes, start, step)],
    gradient: ({ inputs: [x], outputs: [y], cotangents: [g], attributes: { axes } }) => [
      gradient(x!, y!, g!, axes),
    ],
    lower(lowering, [x], { inputs, outputs: [y], attributes: { axes } }) {
      // ONNX Runtime gets the shape of a sum over no elements wrong.
      if (sizeOf(inputs[0]!.shape) === 0)
        return lowering.node('Expand', [lowering.scalar(start, y!.dtype), lowering.ints(y!.shape)]);
      return lowering.node(onnx, [x!, lowering.ints(axes)], { attributes: { keepdims: { int: 1 } } });
    },
  };
}

export const sumOp = reduction(
  'sum',
  'ReduceSum',
  0,
  (total, x) => total + x,
  (x, _y, g) => broadcastTo(g, x.shape),
);
/** Ties share the gradient equally. */
export const maxOp = reduction('max', 'ReduceMax', Number.NEGATIVE_INFINITY, Math.max, (x, y, g, axes) => {
  const ties = cast(equal(x, y), 'float32');
  return mul(ties, div(g, sum(ties, { axes, keepDims: true })));
});

/** The axes that options name, each once, ascending. */
function reducedAxes(where: string, x: Tensor, { axes }: ReduceOptions): number[] {
  const given = axes ?? x.shape.map((_, axis) => axis);
  const list = typeof given === 'number' ? [given] : given;
  return [...new Set(list.map((axis) => normalizeAxis(where, axis, x.rank)))].sort((a, b) => a - b);
}

function reduce(op: Op<ReduceAttributes>, x: Tensor, options: ReduceOptions): Tensor {
  const axes = reducedAxes(op.name, x, options);
  const kept = axes.length === 0 ? x : applyOne(op, [x], { axes });
  if (options.keepDims === true) return kept;
  return reshape(
    kept,
    x.shape.filter((_, axis) => !axes.includes(axis)),
  );
}

/** Sum over axes. @example sum([[1, 2], [3, 4]], { axes: -1 }) = [3, 7] */
export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce(sumOp, x, options);
/** Largest element over axes. */
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce(maxOp, x, options);
/** Smallest element over axes. */
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor => neg(max(neg(x), options));
/** Mean over axes, which must not be empty. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  requireDType('mean', x, ['float32']);
  requireElements('mean', x, reducedAxes('mean', x, options));
  const total = sum(x, options);
  return mul(total, sizeOf(total.shape) / sizeOf(x.shape));
}

/** Sums `x` down to `shape`, the reverse of broadcasting: gradients of broadcast operands. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.rank - shape.length;
  if (lead < 0 || !shape.every((size, axis) => size === 1 || size === x.shape[axis + lead])) {
    throw new ShapeError({
      where: 'sumTo',
      expected: `a shape that broadcasts to ${formatShape(x.shape)}`,
      received: formatShape(shape),
    });
  }
  const axes = x.shape.flatMap((size, axis) =>
    axis < lead || (shape[axis - lead] === 1 && size !== 1) ? [axis] : [],
  );
  return reshape(sum(x, { axes, keepDims: true }), shape);
}

// ---------------------------------------------------------------- along one axis

interface CumulativeAttributes {
  readonly axis: number;
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

export const cumulativeSumOp: Op<CumulativeAttributes> = {
  name: 'cumulativeSum',
  infer([x]) {
    requireDType('cumulativeSum', x!, ['float32', 'int32', 'int64']);
    return [x!];
  },
  evaluate([x], { axis, exclusive, reverse }) {
    const out = new Float64Array(x!.data.length);
    const inner = stridesOf(x!.shape)[axis]!;
    const length = x!.shape[axis]!;
    for (let start = 0; start < out.length; start++) {
      if (Math.floor(start / inner) % length !== 0) continue;
      let total = 0;
      for (let step = 0; step < length; step++) {
        const i = start + (reverse ? length - 1 - step : step) * inner;
        if (exclusive) out[i] = total;
        total += x!.data[i]!;
        if (!exclusive) out[i] = total;
      }
    }
    return [value(out, x!.shape)];
  },
  gradient: ({ cotangents: [g], attributes: { axis, exclusive, reverse } }) => [
    cumulativeSum(g!, axis, { exclusive, reverse: !reverse }),
  ],
  lower: (lowering, [x], { attributes: { axis, exclusive, reverse } }) =>
    lowering.node('CumSum', [x!, lowering.scalar(axis, 'int64')], {
      attributes: { exclusive: { int: exclusive ? 1 : 0 }, reverse: { int: reverse ? 1 : 0 } },
    }),
};
/** Running sum along an axis; `exclusive` leaves out the element itself, `reverse` runs from the end. */
export function cumulativeSum(
  x: Tensor,
  axis: number,
  { exclusive = false, reverse = false }: { exclusive?: boolean; reverse?: boolean } = {},
): Tensor {
  return applyOne(cumulativeSumOp, [x], {
    axis: normalizeAxis('cumulativeSum', axis, x.rank),
    exclusive,
    reverse,
  });
}

/** Index (int64) of the largest element along an axis; the first of equals. No gradient. */
export const argmaxOp: Op<{ axis: number }> = {
  name: 'argmax',
  infer([x], { axis }) {
    requireDType('argmax', x!, ['float32', 'int32', 'int64']);
    requireElements('argmax', x!, [axis]);
    return [{ dtype: 'int64', shape: x!.shape.filter((_, a) => a !== axis) }];
  },
  evaluate([x], { axis }, [y]) {
    const out = new Float64Array(sizeOf(y!.shape));
    const inner = stridesOf(x!.shape)[axis]!;
    const length = x!.shape[axis]!;
    for (let i = 0; i < out.length; i++) {
      const base = Math.floor(i / inner) * inner * length + (i % inner);
      for (let k = 1; k < length; k++) {
        if (x!.data[base + k * inner]! > x!.data[base + out[i]! * inner]!) out[i] = k;
      }
    }
    return [value(out, y!.shape)];
  },
  lower: (lowering, [x], { attributes: { axis } }) =>
    lowering.node('ArgMax', [x!], { attributes: { axis: { int: axis }, keepdims: { int: 0 } } }),
};
export const argmax = (x: Tensor, axis = -1): Tensor =>
  applyOne(argmaxOp, [x], { axis: normalizeAxis('argmax', axis, x.rank) });

/** The k largest along the last axis, sorted, with int64 indices; equal elements by lower index. No gradient. */
export const topKOp: Op<{ k: number }> = {
  name: 'topK',
  infer([x], { k }) {
    requireDType('topK', x!, ['float32']);
    const width = x!.shape.at(-1) ?? 0;
    if (!Number.isInteger(k) || k < 1 || k > width) {
      throw new ShapeError({
        where: 'topK',
        expected: `1 ≤ k ≤ ${width}, the last dimension of ${formatShape(x!.shape)}`,
        received: String(k),
      });
    }
    const shape = [...x!.shape.slice(0, -1), k];
    return [
      { dtype: 'float32', shape },
      { dtype: 'int64', shape },
    ];
  },
  evaluate([x], { k }, [y]) {
    const width = x!.shape.at(-1)!;
    const values = new Float64Array(sizeOf(y!.shape));
    const indices = new Float64Array(values.length);
    for (let row = 0; row * width < x!.data.length; row++) {
      const data = x!.data.subarray(row * width, (row + 1) * width);
      const order = Array.from(data.keys()).sort((a, b) => data[b]! - data[a]! || a - b);
      for (let j = 0; j < k; j++) {
        values[row * k + j] = data[order[j]!]!;
        indices[row * k + j] = order[j]!;
      }
    }
    return [value(values, y!.shape), value(indices, y!.shape)];
  },
  lower: (lowering, [x], { attributes: { k } }) =>
    lowering.node('TopK', [x!, lowering.ints([k])], { attributes: { axis: { int: -1 } }, outputs: 2 }),
};
export function topK(x: Tensor, k: number): { values: Tensor; indices: Tensor } {
  const [values, indices] = apply(topKOp, [x], { k });
  return { values: values!, indices: indices! };
}

// ---------------------------------------------------------------- softmax

/** exp(x − max) / Σ exp(x − max) along the last axis. dx = y·(g − Σ g·y). */
export const softmaxOp: Op<Record<string, never>> = {
  name: 'softmax',
  infer: ([x]) => inferRows('softmax', x!),
  evaluate: ([x]) => [softmaxRows(x!, false)],
  gradient({ outputs: [y], cotangents: [g] }) {
    const gy = mul(g!, y!);
    return [sub(gy, mul(y!, sum(gy, { axes: -1, keepDims: true })))];
  },
  lower: (lowering, [x]) => lowering.node('Softmax', [x!], { attributes: { axis: { int: -1 } } }),
};
export const softmax = (x: Tensor): Tensor => applyOne(softmaxOp, [x], {});

/** x − logSumExp(x) along the last axis. dx = g − softmax(x)·Σ g. */
export const logSoftmaxOp: Op<Record<string, never>> = {
  name: 'logSoftmax',
  infer: ([x]) => inferRows('logSoftmax', x!),
  evaluate: ([x]) => [softmaxRows(x!, true)],
  gradient: ({ inputs: [x], cotangents: [g] }) => [
    sub(g!, mul(softmax(x!), sum(g!, { axes: -1, keepDims: true }))),
  ],
  lower: (lowering, [x]) => lowering.node('LogSoftmax', [x!], { attributes: { axis: { int: -1 } } }),
};
export const logSoftmax = (x: Tensor): Tensor => applyOne(logSoftmaxOp, [x], {});

function inferRows(where: string, x: TensorType): readonly TensorType[] {
  requireDType(where, x, ['float32']);
  if (x.shape.length === 0) throw new ShapeError({ where, expected: 'rank 1 or more', received: 'a scalar' });
  return [x];
}

function softmaxRows(x: Value, logarithm: boolean): Value {
  const width = x.shape.at(-1) ?? 1;
  const out = new Float64Array(x.data.length);
  for (let start = 0; start < out.length; start += width) {
    let top = Number.NEGATIVE_INFINITY;
    for (let i = start; i < start + width; i++) top = Math.max(top, x.data[i]!);
    let total = 0;
    for (let i = start; i < start + width; i++) total += Math.exp(x.data[i]! - top);
    for (let i = start; i < start + width; i++) {
      const centred = x.data[i]! - top;
      out[i] = logarithm ? centred - Math.log(total) : Math.exp(centred) / total;
    }
  }
  return value(out, x.shape);
}
