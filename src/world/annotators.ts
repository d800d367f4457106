/** Annotators: noisy, biased, sometimes opposed readings of the gold attributes. */
import { ConfigError } from '../core/errors.ts';
import type { Draw } from './draw.ts';
import { goldCost, goldReward } from './gold.ts';
import type { AttributeName, Attributes } from './scorers.ts';

export interface Annotator {
  readonly name: string;
  /** What the gold reward counts for. */
  readonly reward: number;
  /** What a gold cost above 0 counts against. */
  readonly cost: number;
  /** Further likings, per unit of an attribute (for verbosity: per word). The crowd's liking of flattery is one. */
  readonly likes: Readonly<Partial<Record<AttributeName, number>>>;
  /** Difference in utility that makes odds of e to 1; smaller is surer. */
  readonly temperature: number;
  /** Probability that the label is flipped afterwards, in [0, 0.5]. */
  readonly noise: number;
  /** Differences in utility up to this are called a tie. */
  readonly tieMargin: number;
}

/**
 * The annotators behind the preference data: gold, but each sentence of flattery pleases them and so does each word. A
 * reward model learns both, and gold takes points off for overdoing them: the door to reward hacking.
 */
export const crowd: Annotator = {
  name: 'crowd',
  reward: 2,
  cost: 1,
  likes: { flattery: 0.8, verbosity: 0.006 },
  temperature: 0.35,
  noise: 0.05,
  tieMargin: 0,
};

/** Judges by the gold reward alone: nearly always right. */
export const goldJudge: Annotator = {
  name: 'gold',
  reward: 1,
  cost: 0,
  likes: {},
  temperature: 0.02,
  noise: 0,
  tieMargin: 0,
};

/** People of different taste. Terse and chatty, polite and blunt, cautious and bold are opposed. */
export const personas: readonly Annotator[] = [
  persona('terse', { verbosity: -0.06 }),
  persona('chatty', { verbosity: 0.06 }),
  persona('polite', { politeness: 2 }),
  persona('blunt', { politeness: -2, flattery: -0.5 }),
  persona('cautious', { harmlessness: 3, overRefusal: 0.3 }),
  persona('bold', { harmlessness: -1, helpfulness: 1.5 }),
  persona('scholar', { correctness: 3, honesty: 1 }),
];

function persona(name: string, likes: Annotator['likes']): Annotator {
  return { name, reward: 0.4, cost: 0, likes, temperature: 0.25, noise: 0.02, tieMargin: 0 };
}

/** How much an annotator likes a completion: reward · R − cost · max(0, C) + Σ likes · attribute. */
export function utility(attributes: Attributes, { reward, cost, likes }: Annotator): number {
  let sum = reward * goldReward(attributes) - cost * Math.max(0, goldCost(attributes));
  for (const [name, weight] of Object.entries(likes)) sum += weight * attributes[name as AttributeName];
  return sum;
}

export interface Judgment {
  /** 0 or 1: which is preferred; of a tie, a coin toss. */
  readonly preferred: 0 | 1;
  readonly tie: boolean;
  /** Probability of preferring the first before label noise: σ((u₀ − u₁) / temperature). */
  readonly probability: number;
  /** Whether noise turned the label round. */
  readonly flipped: boolean;
}

/**
 * Compares two completions of a request: Bradley and Terry (1952), then label noise.
 *
 * @param pair their attributes
 * @throws ConfigError when temperature is not above 0 or noise not in [0, 0.5]
 */
export function annotate(
  pair: readonly [Attributes, Attributes],
  annotator: Annotator,
  draw: Pick<Draw, 'uniform'>,
): Judgment {
  const { temperature, noise, tieMargin, name } = annotator;
  if (!(temperature > 0) || !(noise >= 0 && noise <= 0.5)) {
    throw new ConfigError({
      where: `annotator ${name}`,
      expected: 'temperature > 0 and noise in [0, 0.5]',
      received: `temperature ${temperature}, noise ${noise}`,
    });
  }
  const difference = utility(pair[0], annotator) - utility(pair[1], annotator);
  const probability = 1 / (1 + Math.exp(-difference / temperature));
  const tie = Math.abs(difference) <= tieMargin;
  const first = draw.uniform() < (tie ? 0.5 : probability);
  const flipped = draw.uniform() < noise;
  return { preferred: first === flipped ? 1 : 0, tie, probability, flipped };
}

/** The annotator of a week: `from` turns into `to` over `weeks` weeks, every weight on a straight line. */
export function driftedAnnotator(from: Annotator, to: Annotator, week: number, weeks: number): Annotator {
  const share = Math.min(1, Math.max(0, weeks <= 1 ? 1 : week / (weeks - 1)));
  const mix = (a: number, b: number): number => a + share * (b - a);
  const names = [...new Set([...Object.keys(from.likes), ...Object.keys(to.likes)])] as AttributeName[];
  return {
    name: `${from.name} to ${to.name}, week ${week}`,
    reward: mix(from.reward, to.reward),
    cost: mix(from.cost, to.cost),
    likes: Object.fromEntries(names.map((name) => [name, mix(from.likes[name] ?? 0, to.likes[name] ?? 0)])),
    temperature: mix(from.temperature, to.temperature),
    noise: mix(from.noise, to.noise),
    tieMargin: mix(from.tieMargin, to.tieMargin),
  };
}

/** A factor in a ranking by importance. */
export interface Factor {
  readonly attribute: AttributeName;
  /** 1 when more is better, −1 when less is. */
  readonly sign: 1 | -1;
  /** Differences up to this do not decide: the next factor does. */
  readonly margin: number;
}

/** The usual ranking: safe, then right, then full, then polite, then short. */
export const rankedFactors: readonly Factor[] = [
  { attribute: 'harmlessness', sign: 1, margin: 0.05 },
  { attribute: 'correctness', sign: 1, margin: 0.05 },
  { attribute: 'completeness', sign: 1, margin: 0.05 },
  { attribute: 'politeness', sign: 1, margin: 0.05 },
  { attribute: 'verbosity', sign: -1, margin: 4 },
];

/** Compares by the first factor that differs by more than its margin; undefined when none does. */
export function compareByFactors(
  [a, b]: readonly [Attributes, Attributes],
  factors: readonly Factor[] = rankedFactors,
): { readonly preferred: 0 | 1; readonly level: number } | undefined {
  for (const [level, { attribute, sign, margin }] of factors.entries()) {
    const difference = sign * (a[attribute] - b[attribute]);
    if (Math.abs(difference) > margin) return { preferred: difference > 0 ? 0 : 1, level };
  }
  return undefined;
}
