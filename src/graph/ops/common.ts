/** Shared by the operation records: entry checks, constants, and index arithmetic of the interpreter. */
import { ShapeError } from '../../core/errors.ts';
import { allocate, type HostTensor, hostTensor } from '../../core/host-tensor.ts';
import { type DType, formatShape, type Shape, sizeOf, stridesOf } from '../../core/shapes.ts';
import { applyOne, type Op, type Tensor, type TensorType, type Value } from '../tensor.ts';

export function value(data: Float64Array, shape: Shape): Value {
  return { data, shape };
}

export function mapValue(x: Value, f: (x: number) => number): Value {
  return value(x.data.map(f), x.shape);
}

export function requireDType(where: string, x: TensorType, dtypes: readonly DType[]): void {
  if (!dtypes.includes(x.dtype)) {
    throw new ShapeError({
      where,
      expected: `a tensor of ${dtypes.join(' or ')}`,
      received: `${x.dtype}${formatShape(x.shape)}`,
      fix: 'Convert it with cast()',
    });
  }
}

export function requireSameDType(where: string, a: TensorType, b: TensorType): void {
  if (a.dtype !== b.dtype) {
    throw new ShapeError({
      where,
      expected: 'operands of one dtype',
      received: `${a.dtype} and ${b.dtype}`,
      fix: 'Convert one of them with cast()',
    });
  }
}

/** Checks that the axes a result is chosen from have an element to choose. */
export function requireElements(where: string, x: TensorType, axes: readonly number[]): void {
  const emptyAxis = axes.find((axis) => x.shape[axis] === 0);
  if (emptyAxis !== undefined) {
    throw new ShapeError({
      where,
      expected: `at least one element along axis ${emptyAxis}`,
      received: formatShape(x.shape),
    });
  }
}

/** Maps a flat index of `target` to the flat index of `source` that broadcasts to it. */
export function broadcastIndex(source: Shape, target: Shape): (index: number) => number {
  if (source.length === target.length && source.every((d, axis) => d === target[axis]))
    return (index) => index;
  if (sizeOf(source) === 1) return () => 0;
  const lead = target.length - source.length;
  const strides = stridesOf(source).map((stride, axis) => (source[axis] === 1 ? 0 : stride));
  const targetStrides = stridesOf(target);
  return (index) => {
    let flat = 0;
    for (let axis = lead; axis < target.length; axis++) {
      flat += (Math.floor(index / targetStrides[axis]!) % target[axis]!) * strides[axis - lead]!;
    }
    return flat;
  };
}

/** Data known while tracing. Small equal constants are merged. */
export const constantOp: Op<{ tensor: HostTensor }> = {
  name: 'constant',
  infer: (_, { tensor }) => [{ dtype: tensor.dtype as DType, shape: tensor.shape }],
  evaluate: (_, { tensor }) => [
    value(Float64Array.from(tensor.data as ArrayLike<number>, Number), tensor.shape),
  ],
  lower: (lowering, _inputs, { attributes }) => [lowering.constant(attributes.tensor)],
};

/** A constant tensor. The array is kept, not copied: do not change it afterwards. float64 data are stored as float32. */
export function constant(tensor: HostTensor): Tensor {
  const stored =
    tensor.dtype === 'float64'
      ? hostTensor(Float32Array.from(tensor.data as Float64Array), tensor.shape)
      : tensor;
  return applyOne(constantOp, [], { tensor: stored });
}

/** A scalar constant broadcast to a type: one stored number, whatever the shape. */
export function constantLike(type: TensorType, number: number): Tensor {
  if (type.dtype !== 'float32' && !Number.isInteger(number)) {
    throw new ShapeError({
      where: 'constant',
      expected: `an integer for ${type.dtype}`,
      received: String(number),
      fix: 'Convert the tensor it is combined with by cast(x, "float32")',
    });
  }
  const data = allocate(type.dtype, 1);
  if (data instanceof BigInt64Array) data[0] = BigInt(number);
  else data[0] = number;
  const scalar = constant({ dtype: type.dtype, shape: [], data });
  return type.shape.length === 0 ? scalar : applyOne(fillOp, [scalar], { shape: type.shape });
}

/** Expand of a scalar constant. Separate from broadcastTo so that it needs no gradient and folds no memory. */
export const fillOp: Op<{ shape: Shape }> = {
  name: 'fill',
  infer: ([x], { shape }) => [{ dtype: x!.dtype, shape }],
  evaluate: ([x], { shape }) => [value(new Float64Array(sizeOf(shape)).fill(x!.data[0]!), shape)],
  lower: (lowering, [x], { attributes }) => lowering.node('Expand', [x!, lowering.ints(attributes.shape)]),
};

/** 0, 1, …, size − 1. */
export function iota(size: number, dtype: 'int32' | 'int64' | 'float32' = 'int64'): Tensor {
  const data = allocate(dtype, size);
  for (let i = 0; i < size; i++) {
    if (data instanceof BigInt64Array) data[i] = BigInt(i);
    else data[i] = i;
  }
  return constant({ dtype, shape: [size], data });
}

/** A number as text that tells 0 from −0. */
export function exactText(number: number | bigint): string {
  return Object.is(number, -0) ? '-0' : String(number);
}
