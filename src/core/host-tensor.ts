import { ShapeError } from './errors.ts';
import { type DType, formatShape, type Shape, sizeOf } from './shapes.ts';

/** Memory that an engine reads or writes in place. Float32 tensors may be bound as float64 only in the interpreter. */
export type HostArray = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array;

/** A tensor in host memory: row-major, dense. float64 is for host arithmetic (advantages, statistics) only. */
export interface HostTensor<A extends HostArray = HostArray> {
  readonly dtype: DType | 'float64';
  readonly shape: Shape;
  readonly data: A;
}

export type HostTensorOf<D extends DType | 'float64'> = HostTensor<
  D extends 'float32'
    ? Float32Array
    : D extends 'float64'
      ? Float64Array
      : D extends 'int32'
        ? Int32Array
        : D extends 'int64'
          ? BigInt64Array
          : Uint8Array
>;

/** Bytes of one element. */
export function byteWidth(dtype: DType | 'float64'): number {
  switch (dtype) {
    case 'float32':
    case 'int32':
      return 4;
    case 'float64':
    case 'int64':
      return 8;
    case 'bool':
    case 'uint8':
      return 1;
  }
}

/** Fresh zeroed memory for `size` elements. */
export function allocate(dtype: DType | 'float64', size: number): HostArray {
  switch (dtype) {
    case 'float32':
      return new Float32Array(size);
    case 'float64':
      return new Float64Array(size);
    case 'int32':
      return new Int32Array(size);
    case 'int64':
      return new BigInt64Array(size);
    case 'bool':
    case 'uint8':
      return new Uint8Array(size);
  }
}

/** The dtype that a typed array holds; bool for a Uint8Array, which may hold uint8 as well. */
export function dtypeOf(data: HostArray): DType | 'float64' {
  if (data instanceof Float32Array) return 'float32';
  if (data instanceof Float64Array) return 'float64';
  if (data instanceof Int32Array) return 'int32';
  if (data instanceof BigInt64Array) return 'int64';
  return 'bool';
}

/** Wraps a typed array; the dtype follows from its class. Throws `ShapeError` when the sizes differ. */
export function hostTensor<A extends HostArray>(data: A, shape: Shape): HostTensor<A> {
  if (data.length !== sizeOf(shape)) {
    throw new ShapeError({
      where: 'hostTensor',
      expected: `${sizeOf(shape)} elements for shape ${formatShape(shape)}`,
      received: `${data.length} elements`,
      fix: 'Pass a shape whose product is the length of the data',
    });
  }
  return { dtype: dtypeOf(data), shape, data };
}
