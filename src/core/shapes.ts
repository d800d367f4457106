import { ShapeError } from './errors.ts';

/** Dimensions, outermost first; a scalar is `[]`. Every dimension is a non-negative integer. */
export type Shape = readonly number[];

/** Element types of traced tensors. The interpreter holds float32 tensors in float64. */
export type DType = 'float32' | 'int32' | 'int64' | 'bool' | 'uint8';

/** Number of elements of a shape; 1 for a scalar. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const dimension of shape) size *= dimension;
  return size;
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dimension, axis) => dimension === b[axis]);
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** Turns an axis in `[-rank, rank)` into one in `[0, rank)`. Throws `ShapeError` when it is out of range. */
export function normalizeAxis(where: string, axis: number, rank: number): number {
  const normalized = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || normalized < 0 || normalized >= rank) {
    throw new ShapeError({
      where,
      expected: `an axis in [${-rank}, ${rank})`,
      received: String(axis),
      fix: 'Name an axis that the tensor has',
    });
  }
  return normalized;
}

/** Shape of an elementwise operation on `a` and `b` by NumPy's broadcasting rule. Throws `ShapeError` otherwise. */
export function broadcastShapes(where: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const shape = new Array<number>(rank);
  for (let axis = 0; axis < rank; axis++) {
    const da = a[a.length - rank + axis] ?? 1;
    const db = b[b.length - rank + axis] ?? 1;
    if (da !== db && da !== 1 && db !== 1) {
      throw new ShapeError({
        where,
        expected: 'shapes that broadcast together',
        received: `${formatShape(a)} and ${formatShape(b)}`,
        fix: 'Reshape or transpose one of them so that each dimension is equal or 1',
      });
    }
    shape[axis] = da === 1 ? db : da;
  }
  return shape;
}

/**
 * Checks that named tensors fit shape patterns that share letters, for example
 * `checkShapes('gae', { rewards: [rewards, 'B C'], values: [values, 'B C'] })`.
 * A letter stands for one size throughout the call; a number stands for itself; `...` first stands for any leading dimensions.
 *
 * @returns the size of each letter.
 * @throws ShapeError naming the first tensor that does not fit.
 */
export function checkShapes(
  where: string,
  tensors: Record<string, readonly [{ readonly shape: Shape }, string]>,
): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const [name, [tensor, pattern]] of Object.entries(tensors)) {
    const letters = pattern.split(/\s+/).filter((letter) => letter !== '');
    const anyLead = letters[0] === '...';
    if (anyLead) letters.shift();
    const lead = tensor.shape.length - letters.length;
    const fits =
      (anyLead ? lead >= 0 : lead === 0) &&
      letters.every((letter, index) => {
        const size = tensor.shape[lead + index]!;
        if (/^\d+$/.test(letter)) return size === Number(letter);
        sizes[letter] ??= size;
        return sizes[letter] === size;
      });
    if (!fits) {
      const known = letters.map((letter) =>
        sizes[letter] === undefined ? letter : `${letter}=${sizes[letter]}`,
      );
      throw new ShapeError({
        where: `${where}(${name})`,
        expected: `shape [${anyLead ? '..., ' : ''}${known.join(', ')}]`,
        received: formatShape(tensor.shape),
        fix: 'Pass tensors whose shared dimensions agree',
      });
    }
  }
  return sizes;
}
