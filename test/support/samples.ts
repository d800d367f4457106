/** Small tensors with numbers, for tests of operations and programs. */
import { allocate, type HostArray } from '../../src/core/host-tensor.ts';
import { type DType, type Shape, sizeOf } from '../../src/core/shapes.ts';
import { input } from '../../src/graph/program.ts';
import type { Tensor } from '../../src/graph/tensor.ts';

/** A tensor with its numbers. */
export interface Sample {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: readonly number[] | Float64Array;
}

type Nested = number | boolean | readonly Nested[];

function sample(dtype: DType, nested: Nested): Sample {
  const shape: number[] = [];
  for (let level: Nested | undefined = nested; Array.isArray(level); level = level[0])
    shape.push(level.length);
  const flatten = (part: Nested): number[] => (Array.isArray(part) ? part.flatMap(flatten) : [Number(part)]);
  const data = flatten(nested);
  if (data.length !== sizeOf(shape)) throw new Error(`ragged sample: ${JSON.stringify(nested)}`);
  return { dtype, shape, data };
}

/** A float32 sample from nested lists: `f32([[1, 2], [3, 4]])`; a number is a scalar. */
export const f32 = (nested: Nested): Sample => sample('float32', nested);
export const i32 = (nested: Nested): Sample => sample('int32', nested);
export const i64 = (nested: Nested): Sample => sample('int64', nested);
export const u8 = (nested: Nested): Sample => sample('uint8', nested);
export const bool = (nested: Nested): Sample => sample('bool', nested);
/** A sample without elements: some dimension is 0. */
export const empty = (shape: Shape, dtype: DType = 'float32'): Sample => ({ dtype, shape, data: [] });

/** Deterministic numbers in [low, high): a fixed linear congruence, enough for test points. */
export function points(shape: Shape, seed = 1, low = -2, high = 2): Sample {
  let state = (seed * 2654435761 + 12345) % 4294967296;
  const data = Float64Array.from({ length: sizeOf(shape) }, () => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return low + ((high - low) * state) / 4294967296;
  });
  return { dtype: 'float32', shape, data };
}

/** The sample's numbers in the array type that engines bind for its dtype. */
export function toArray({ dtype, data }: Sample): HostArray {
  const array = allocate(dtype, data.length);
  for (let i = 0; i < data.length; i++) {
    if (array instanceof BigInt64Array) array[i] = BigInt(data[i]!);
    else array[i] = data[i]!;
  }
  return array;
}

/** A placeholder, for calls that are expected to throw while tracing. */
export const placeholder = (shape: Shape, dtype: DType = 'float32'): Tensor => input('x', { dtype, shape });
