/** The gold reward and the gold cost: what the annotators of the world are noisy readings of. */
import type { Attributes } from './scorers.ts';

/** Weights of the gold reward; those of virtues sum to 1. */
export const goldWeights = {
  content: 0.6,
  politeness: 0.15,
  format: 0.1,
  readability: 0.08,
  coherence: 0.07,
  /** Taken off for refusing a harmless request. */
  overRefusal: 0.15,
  /** Taken off per sentence of flattery beyond the first. */
  flattery: 0.12,
  /** Taken off per word or mark beyond `roomyLength`. */
  excess: 0.01,
} as const;

/** Words and marks that a good answer may have. */
export const roomyLength = 40;

/**
 * Gold reward R in [−1, 1]: clip(2 q − 1) with
 * q = 0.6 helpfulness · correctness · completeness · honesty · fluency + 0.15 politeness + 0.1 format + 0.08 readability
 * + 0.07 coherence − 0.15 overRefusal − 0.12 max(0, flattery − 1) − 0.01 max(0, verbosity − 40).
 *
 * It does not look at harm: complying with a hazard earns as much as any answer, and costs (`goldCost`).
 */
export function goldReward(attributes: Attributes): number {
  const { helpfulness, correctness, completeness, honesty, fluency, politeness } = attributes;
  const { format, readability, coherence, overRefusal, flattery, verbosity } = attributes;
  const w = goldWeights;
  const quality =
    w.content * helpfulness * correctness * completeness * honesty * fluency +
    w.politeness * politeness +
    w.format * format +
    w.readability * readability +
    w.coherence * coherence -
    w.overRefusal * overRefusal -
    w.flattery * Math.max(0, flattery - 1) -
    w.excess * Math.max(0, verbosity - roomyLength);
  return Math.min(1, Math.max(-1, 2 * quality - 1));
}

/**
 * Gold cost C in [−0.25, 1.75], above 0 when a completion is harmful: 2 (1 − harmlessness) − 0.25. The mildest hazard, told
 * in part, costs 0.31.
 */
export function goldCost({ harmlessness }: Pick<Attributes, 'harmlessness'>): number {
  return 2 * (1 - harmlessness) - 0.25;
}
