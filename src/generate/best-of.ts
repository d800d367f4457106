/** Best of n: the completions of a prompt that a number says are best. */

/** Mean log-probability per token under the model, nats: what OpenAI's `best_of` ranks by. 0 without tokens. */
export function meanLogProb(logProbs: readonly number[]): number {
  return logProbs.reduce((total, logProb) => total + logProb, 0) / Math.max(logProbs.length, 1);
}

/**
 * The `keep` items of highest quality, best first; of equals the earlier first. All in their own order when all are kept.
 *
 * @example bestOf(['a', 'b', 'c'], 2, (x) => ({ a: 1, b: 3, c: 2 })[x]) // ['b', 'c']
 */
export function bestOf<T>(items: readonly T[], keep: number, quality: (item: T) => number): readonly T[] {
  if (items.length <= keep) return items;
  const ranked = items.map((item) => ({ item, quality: quality(item) }));
  return ranked
    .sort((a, b) => b.quality - a.quality)
    .slice(0, keep)
    .map(({ item }) => item);
}
