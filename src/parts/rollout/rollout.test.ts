import { describe, expect, it } from 'vitest';
import { createRng } from '../../core/rng.ts';
import { promptIndices } from './rollout.ts';

describe('promptIndices', () => {
  const rng = createRng(1);
  it('goes through every prompt once before any comes again, whatever the batches', () => {
    const drawn = [0, 1, 2].flatMap((iteration) => promptIndices(rng, 6, 4, iteration, true));
    expect(drawn.slice(0, 6).toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(drawn.slice(6).toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(drawn.slice(0, 6)).not.toEqual(drawn.slice(6));
  });
  it('keeps the order of the file when not shuffled, and fills a batch larger than the data', () => {
    expect(promptIndices(rng, 3, 4, 1, false)).toEqual([1, 2, 0, 1]);
    expect(promptIndices(rng, 2, 5, 0, true)).toHaveLength(5);
  });
});
