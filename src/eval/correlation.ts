/** Agreement of two lists of numbers. */
import { ShapeError } from '../core/errors.ts';
import { mean } from '../core/statistics.ts';

/**
 * Pearson's correlation: Σ (a − ā)(b − b̄) / √(Σ (a − ā)² Σ (b − b̄)²), −1 to 1.
 *
 * @param a [N]
 * @param b [N]
 * @returns undefined where one list has fewer than two different numbers
 * @throws ShapeError when the lengths differ
 * @example pearson([1, 2, 3], [2, 4, 6]) // 1
 */
export function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number | undefined {
  if (a.length !== b.length) {
    throw new ShapeError({ where: 'pearson', expected: `${a.length} numbers`, received: `${b.length}` });
  }
  if (a.length < 2) return undefined;
  const [centerA, centerB] = [mean(a), mean(b)];
  let [product, squaresA, squaresB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]! - centerA, b[i]! - centerB];
    product += x * y;
    squaresA += x * x;
    squaresB += y * y;
  }
  return squaresA === 0 || squaresB === 0 ? undefined : product / Math.sqrt(squaresA * squaresB);
}

/**
 * Spearman's rank correlation: Pearson's of the ranks, equal numbers sharing the mean of theirs.
 *
 * @example spearman([1, 2, 3], [1, 10, 100]) // 1
 */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number | undefined {
  return pearson(ranks(a), ranks(b));
}

/** Ranks from 1, the mean of their places for equal numbers. */
function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort((i, j) => values[i]! - values[j]!);
  const result = new Float64Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let i = start; i < end; i++) result[order[i]!] = (start + 1 + end) / 2;
    start = end;
  }
  return result;
}
