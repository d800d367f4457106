/** Reading and adding rows or elements by integer index. */
import { NumericError, ShapeError } from '../../core/errors.ts';
import { formatShape, normalizeAxis, type Shape, sameShape, sizeOf, stridesOf } from '../../core/shapes.ts';
import { applyOne, type Op, type Tensor, type TensorType, type Value } from '../tensor.ts';
import { constantLike, requireDType, value } from './common.ts';
import { reshape } from './shape.ts';

const integers = ['int32', 'int64'] as const;

function checkIndex(where: string, index: number, size: number): number {
  if (!(index >= 0 && index < size)) {
    throw new NumericError({
      where,
      expected: `indices in [0, ${size})`,
      received: String(index),
      fix: 'Check token ids against the vocabulary size',
    });
  }
  return index;
}

/** Rows of a table by index: table [N, ...R], indices [...I] → [...I, ...R]. The embedding look-up. */
export const gatherOp: Op<Record<string, never>> = {
  name: 'gather',
  infer([table, indices]) {
    requireDType('gather(indices)', indices!, integers);
    if (table!.shape.length === 0) {
      throw new ShapeError({ where: 'gather', expected: 'a table of rank 1 or more', received: 'a scalar' });
    }
    return [{ dtype: table!.dtype, shape: [...indices!.shape, ...table!.shape.slice(1)] }];
  },
  evaluate([table, indices], _attributes, [y]) {
    const width = sizeOf(table!.shape.slice(1));
    const out = new Float64Array(sizeOf(y!.shape));
    indices!.data.forEach((index, row) => {
      const start = checkIndex('gather', index, table!.shape[0]!) * width;
      out.set(table!.data.subarray(start, start + width), row * width);
    });
    return [value(out, y!.shape)];
  },
  gradient: ({ inputs: [table, indices], cotangents: [g] }) => [
    scatterAddRows(indices!, g!, table!.shape[0]!),
    undefined,
  ],
  lower: (lowering, inputs) => lowering.node('Gather', inputs, { attributes: { axis: { int: 0 } } }),
};
export const gather = (table: Tensor, indices: Tensor): Tensor => applyOne(gatherOp, [table, indices], {});
/** Token ids → vectors: weight [V, D], ids [...] → [..., D]. */
export const embedding = (weight: Tensor, ids: Tensor): Tensor => gather(weight, ids);

/** Adds rows into a zero table: indices [...I], updates [...I, ...R] → [rows, ...R]; equal indices add up. */
export const scatterAddRowsOp: Op<{ rows: number }> = {
  name: 'scatterAddRows',
  infer([indices, updates], { rows }) {
    requireDType('scatterAddRows(indices)', indices!, integers);
    requireDType('scatterAddRows(updates)', updates!, ['float32']);
    const lead = indices!.shape.length;
    if (formatShape(updates!.shape.slice(0, lead)) !== formatShape(indices!.shape)) {
      throw new ShapeError({
        where: 'scatterAddRows',
        expected: `updates that begin with ${formatShape(indices!.shape)}`,
        received: formatShape(updates!.shape),
      });
    }
    return [{ dtype: 'float32', shape: [rows, ...updates!.shape.slice(lead)] }];
  },
  evaluate([indices, updates], { rows }, [y]) {
    const out = new Float64Array(sizeOf(y!.shape));
    const width = out.length / rows;
    indices!.data.forEach((index, row) => {
      const start = checkIndex('scatterAddRows', index, rows) * width;
      for (let j = 0; j < width; j++) out[start + j] = out[start + j]! + updates!.data[row * width + j]!;
    });
    return [value(out, y!.shape)];
  },
  gradient: ({ inputs: [indices], cotangents: [g] }) => [undefined, gather(g!, indices!)],
  lower(lowering, [indices, updates], { inputs, attributes: { rows } }) {
    const [indexTensor, updateTensor] = inputs;
    const count = sizeOf(indexTensor!.shape);
    const rest = updateTensor!.shape.slice(indexTensor!.rank);
    // ScatterElements, not ScatterND: ONNX Runtime 1.30 adds equal rows of ScatterND in parallel without a lock. 2048 rows of
    // ones added to one row on two threads gave less than 2048 in 102 of 200 runs. It is 5 times faster, and wrong.
    const width = sizeOf(rest);
    const matrix = indexTensor!.rank === 1 && rest.length === 1;
    const [flat] = matrix ? [updates] : lowering.node('Reshape', [updates!, lowering.ints([count, width])]);
    const [column] = lowering.node('Reshape', [indices!, lowering.ints([count, 1])]);
    const [spread] = lowering.node('Expand', [column!, lowering.ints([count, width])]);
    const [zeros] = lowering.node('Expand', [lowering.scalar(0, 'float32'), lowering.ints([rows, width])]);
    const [table] = lowering.node('ScatterElements', [zeros!, spread!, flat!], {
      attributes: { axis: { int: 0 }, reduction: { string: 'add' } },
    });
    // A reshape of a program's output is a copy.
    return rest.length === 1 ? [table!] : lowering.node('Reshape', [table!, lowering.ints([rows, ...rest])]);
  },
};
export const scatterAddRows = (indices: Tensor, updates: Tensor, rows: number): Tensor =>
  applyOne(scatterAddRowsOp, [indices, updates], { rows });

interface AlongAttributes {
  readonly axis: number;
}

function requireAlong(where: string, x: TensorType, indices: TensorType, axis: number): void {
  requireDType(`${where}(indices)`, indices, integers);
  const fits =
    x.shape.length === indices.shape.length && x.shape.every((d, a) => a === axis || d === indices.shape[a]);
  if (!fits) {
    throw new ShapeError({
      where,
      expected: `indices shaped like ${formatShape(x.shape)} but for axis ${axis}`,
      received: formatShape(indices.shape),
    });
  }
}

/** Visits each element of `indices` with the flat position it names along `axis` in a tensor of shape `target`. */
function forEachAlong(
  where: string,
  indices: Value,
  target: Shape,
  axis: number,
  visit: (i: number, flat: number) => void,
): void {
  const strides = stridesOf(target);
  const own = stridesOf(indices.shape);
  for (let i = 0; i < indices.data.length; i++) {
    let flat = 0;
    for (let a = 0; a < target.length; a++) {
      const index =
        a === axis
          ? checkIndex(where, indices.data[i]!, target[a]!)
          : Math.floor(i / own[a]!) % indices.shape[a]!;
      flat += index * strides[a]!;
    }
    visit(i, flat);
  }
}

/** y[.., i, ..] = x[.., indices[.., i, ..], ..] along one axis; other dimensions of `indices` equal those of `x`. */
export const takeAlongOp: Op<AlongAttributes> = {
  name: 'takeAlong',
  infer([x, indices], { axis }) {
    requireAlong('takeAlong', x!, indices!, axis);
    return [{ dtype: x!.dtype, shape: indices!.shape }];
  },
  evaluate([x, indices], { axis }) {
    const out = new Float64Array(indices!.data.length);
    forEachAlong('takeAlong', indices!, x!.shape, axis, (i, flat) => {
      out[i] = x!.data[flat]!;
    });
    return [value(out, indices!.shape)];
  },
  gradient: ({ inputs: [x, indices], cotangents: [g], attributes: { axis } }) => [
    scatterAddAlong(constantLike(x!, 0), indices!, g!, axis),
    undefined,
  ],
  lower: (lowering, inputs, { attributes: { axis } }) =>
    lowering.node('GatherElements', inputs, { attributes: { axis: { int: axis } } }),
};
export const takeAlong = (x: Tensor, indices: Tensor, axis = -1): Tensor =>
  applyOne(takeAlongOp, [x, indices], { axis: normalizeAxis('takeAlong', axis, x.rank) });

/** x with `updates` added at `indices` along one axis; equal indices add up. */
export const scatterAddAlongOp: Op<AlongAttributes> = {
  name: 'scatterAddAlong',
  infer([x, indices, updates], { axis }) {
    requireDType('scatterAddAlong(x)', x!, ['float32']);
    requireDType('scatterAddAlong(updates)', updates!, ['float32']);
    requireAlong('scatterAddAlong', x!, indices!, axis);
    if (formatShape(indices!.shape) !== formatShape(updates!.shape)) {
      throw new ShapeError({
        where: 'scatterAddAlong',
        expected: `updates shaped like the indices ${formatShape(indices!.shape)}`,
        received: formatShape(updates!.shape),
      });
    }
    return [x!];
  },
  evaluate([x, indices, updates], { axis }) {
    const out = x!.data.slice();
    forEachAlong('scatterAddAlong', indices!, x!.shape, axis, (i, flat) => {
      out[flat] = out[flat]! + updates!.data[i]!;
    });
    return [value(out, x!.shape)];
  },
  gradient: ({ inputs: [, indices], cotangents: [g], attributes: { axis } }) => [
    g,
    undefined,
    takeAlong(g!, indices!, axis),
  ],
  lower: (lowering, inputs, { attributes: { axis } }) =>
    lowering.node('ScatterElements', inputs, {
      attributes: { axis: { int: axis }, reduction: { string: 'add' } },
    }),
};
export const scatterAddAlong = (x: Tensor, indices: Tensor, updates: Tensor, axis = -1): Tensor =>
  applyOne(scatterAddAlongOp, [x, indices, updates], {
    axis: normalizeAxis('scatterAddAlong', axis, x.rank),
  });

/** x [..., V], ids [...] → x[..., ids]: the element that each row's id names. */
export function pick(x: Tensor, ids: Tensor): Tensor {
  if (x.rank === 0)
    throw new ShapeError({ where: 'pick', expected: 'a tensor of rank 1 or more', received: 'a scalar' });
  const rows = x.shape.slice(0, -1);
  if (!sameShape(rows, ids.shape)) {
    throw new ShapeError({
      where: 'pick',
      expected: `ids of shape ${formatShape(rows)}, the leading dimensions of ${formatShape(x.shape)}`,
      received: formatShape(ids.shape),
    });
  }
  return reshape(takeAlong(x, reshape(ids, [...ids.shape, 1]), -1), ids.shape);
}
