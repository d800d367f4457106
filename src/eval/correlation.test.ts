import { expect, it } from 'vitest';
import { pearson, spearman } from './correlation.ts';

// a = [1, 2, 3, 4], b = [1, 3, 2, 4]: products −1.5·−1.5 − 0.5·0.5 − 0.5·0.5 + 1.5·1.5 = 4 over squares 5 and 5.
it('pearson and spearman are as derived by hand', () => {
  expect(pearson([1, 2, 3, 4], [1, 3, 2, 4])).toBeCloseTo(0.8, 12);
  expect(spearman([1, 2, 3], [1, 10, 100])).toBe(1);
  expect(spearman([1, 2, 3], [9, 5, 1])).toBe(-1);
  // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / √(4.5 · 5).
  expect(spearman([1, 2, 2, 3], [1, 2, 3, 4])).toBeCloseTo(Math.sqrt(0.9), 12);
});
it('there is no correlation with equal numbers or fewer than two, and lists of other lengths are refused', () => {
  expect(pearson([1, 1, 1], [1, 2, 3])).toBeUndefined();
  expect(pearson([1], [2])).toBeUndefined();
  expect(pearson([], [])).toBeUndefined();
  expect(pearson([1, 2], [5, 3])).toBeCloseTo(-1, 12);
  expect(() => pearson([1, 2], [1])).toThrow(/expected 2 numbers, received 1/);
});
