import { expect, it } from 'vitest';
import { overlongPenalty } from './overlong.ts';

it('falls on a straight line over the margin, and not without one', () => {
  expect(overlongPenalty(100, 40)([10, 60, 80, 100, 120])).toEqual([0, 0, -0.5, -1, -1]);
  expect(overlongPenalty(100, 0)([10, 100])).toEqual([0, 0]);
  expect(overlongPenalty(8, 8)([2, 8])).toEqual([-0.25, -1]);
  expect(() => overlongPenalty(8, 9)).toThrow(
    /overlongMargin: expected at most maxNewTokens \(8\), received 9/,
  );
});
