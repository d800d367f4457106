/** Choosing a token from a distribution. */

export interface SamplingOptions {
  /** 0 takes the most likely token; otherwise the logits are divided by it. */
  readonly temperature: number;
  /** Keep the k most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the fewest most likely tokens whose probabilities sum to at least this; 1 keeps all. */
  readonly topP: number;
}

/**
 * Draws an index from probabilities by inverting their cumulative sum, after top-k and then top-p truncation.
 *
 * @param probs probabilities that sum to about 1, [V]
 * @param u uniform number in [0, 1)
 * @source top-p: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1
 */
export function sampleToken(
  probs: Float32Array,
  u: number,
  { topK, topP }: Pick<SamplingOptions, 'topK' | 'topP'>,
): number {
  if ((topK === 0 || topK >= probs.length) && topP >= 1) return invert(probs, undefined, probs.length, u);
  const order = Uint32Array.from(probs.keys()).sort((a, b) => probs[b]! - probs[a]! || a - b);
  let kept = topK === 0 ? probs.length : Math.min(topK, probs.length);
  if (topP < 1) {
    let total = 0;
    for (let i = 0; i < kept; i++) total += probs[order[i]!]!;
    let cumulative = 0;
    let count = 0;
    while (count < kept && cumulative < topP * total) cumulative += probs[order[count++]!]!;
    kept = Math.max(count, 1);
  }
  return invert(probs, order, kept, u);
}

/** The first of `count` entries (in `order`, if given) at which the cumulative sum passes u times the total. */
function invert(probs: Float32Array, order: Uint32Array | undefined, count: number, u: number): number {
  const at = (i: number): number => (order === undefined ? i : order[i]!);
  let total = 0;
  for (let i = 0; i < count; i++) total += probs[at(i)]!;
  const target = u * total;
  let cumulative = 0;
  let last = at(0);
  for (let i = 0; i < count; i++) {
    const p = probs[at(i)]!;
    if (p === 0) continue;
    last = at(i);
    cumulative += p;
    if (cumulative > target) return last;
  }
  return last;
}
