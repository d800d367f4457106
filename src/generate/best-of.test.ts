import { expect, it } from 'vitest';
import { bestOf, meanLogProb } from './best-of.ts';

it('ranks by the mean per token: −1 beats −3, and the sum does not count', () => {
  const made = [{ logProbs: [-3] }, { logProbs: [-1, -1, -1, -1] }, { logProbs: [-2] }];
  expect(bestOf(made, 2, ({ logProbs }) => meanLogProb(logProbs))).toEqual([made[1], made[2]]);
  expect(meanLogProb([])).toBe(0);
});

it('keeps the earlier of equals, and the order when all are kept', () => {
  expect(bestOf(['a', 'b', 'c'], 2, () => 1)).toEqual(['a', 'b']);
  expect(bestOf([1, 3, 2], 3, (x) => x)).toEqual([1, 3, 2]);
});
