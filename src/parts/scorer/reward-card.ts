/** What belongs to a reward model besides its weights: `reward_card.json` in its folder. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CheckpointError } from '../../core/errors.ts';
import { mean, standardDeviation } from '../../core/statistics.ts';

export const REWARD_CARD = 'reward_card.json';

/** Mean and deviation of scores of reference completions, in units of score. */
const normalizerSchema = z.object({
  mean: z.number(),
  std: z.number().positive(),
  /** Completions it was fitted on, and where they came from. */
  count: z.int().positive(),
  source: z.string(),
});

const cardSchema = z.object({
  format: z.literal(1),
  /** Whether sequences end with the stop token when they are scored. */
  eosRule: z.enum(['append', 'as-is']),
  /** Longest sequence in tokens that it was trained on. */
  maxLength: z.int().positive(),
  normalizer: normalizerSchema.optional(),
  /** On held-out pairs, or on training pairs where none were held out. */
  evaluation: z
    .object({
      pairs: z.int().positive(),
      heldOut: z.boolean(),
      accuracy: z.number(),
      tieRate: z.number(),
      ece: z.number(),
      brier: z.number(),
      nll: z.number(),
      temperature: z.number().positive(),
      eceAtTemperature: z.number(),
    })
    .optional(),
  /** Figures of `heed eval-rm` by the name of the data: accuracy by group, temperature, calibration error. */
  benchmarks: z
    .record(
      z.string(),
      z.object({
        accuracy: z.record(
          z.string(),
          z.object({ pairs: z.int(), mean: z.number(), low: z.number(), high: z.number() }),
        ),
        temperature: z.number().positive(),
        ece: z.number(),
        eceAtTemperature: z.number(),
      }),
    )
    .optional(),
  /** Of a model that regresses on ratings: what each number of its head is. −1 and 1 are the ends of the scale. */
  attributes: z
    .array(
      z.object({
        name: z.string(),
        /** In the score: Σ weight · rating. */
        weight: z.number(),
        lowest: z.number(),
        highest: z.number(),
        /** Completions with this rating that the figures are of; held out, or trained on. */
        rated: z.int(),
        heldOut: z.boolean(),
        mae: z.number(),
        pearson: z.number().optional(),
        spearman: z.number().optional(),
      }),
    )
    .min(1)
    .optional(),
  /** Of a model that compares two completions: what the order in which they stand changes. */
  pairwise: z
    .object({
      /** Share of pairs of which it prefers the same completion in both orders. */
      consistency: z.number(),
      /** Mean of |P(first preferred) + P(first preferred, turned around) − 1|. */
      orderBias: z.number(),
    })
    .optional(),
  /** Of a process reward model: how completions are cut into steps and their probabilities made one score. */
  process: z
    .object({
      separator: z.string().min(1),
      aggregate: z.enum(['min', 'product', 'last', 'mean']),
      heldOut: z.boolean(),
      solutions: z.int(),
      steps: z.int(),
      accuracy: z.number(),
      ece: z.number(),
      firstError: z.number().optional(),
      allRight: z.number().optional(),
      f1: z.number().optional(),
    })
    .optional(),
});

export type RewardCard = z.output<typeof cardSchema>;
export type ScoreNormalizer = NonNullable<RewardCard['normalizer']>;

/**
 * Mean and population deviation of scores; a deviation below 1e-6 (all scores equal) becomes 1e-6, so that normalised
 * scores are 0 and not NaN.
 *
 * @throws ShapeError when there are no scores
 * @example fitNormalizer([1, 3], 'sft samples'); // mean 2, std 1: scores 1 and 3 become −1 and 1
 */
export function fitNormalizer(scores: ArrayLike<number>, source: string): ScoreNormalizer {
  const std = Math.max(standardDeviation(scores, 'population'), 1e-6);
  return { mean: mean(scores), std, count: scores.length, source };
}

/** (score − mean) / std; the score itself without a normaliser. */
export function normalizeScore(score: number, normalizer: ScoreNormalizer | undefined): number {
  return normalizer === undefined ? score : (score - normalizer.mean) / normalizer.std;
}

/**
 * The score of a model that regresses: Σ weight · rating, each output mapped from −1 … 1 to the scale of its ratings.
 *
 * @param outputs [A], one per attribute of the card
 * @example scale 1 to 5, weights 0.5 and 0.5, outputs 0 and 1: 0.5 · 3 + 0.5 · 5 = 4
 */
export function combineAttributes(
  outputs: ArrayLike<number>,
  attributes: NonNullable<RewardCard['attributes']>,
): number {
  return attributes.reduce(
    (score, { weight, lowest, highest }, index) =>
      score + weight * (lowest + ((outputs[index]! + 1) / 2) * (highest - lowest)),
    0,
  );
}

/** Text of reward_card.json. */
export function formatRewardCard(card: RewardCard): string {
  return `${JSON.stringify(card, null, 2)}\n`;
}

/**
 * The card in a model folder; undefined when there is none.
 *
 * @throws CheckpointError when the file is not a card
 */
export function readRewardCard(folder: string): RewardCard | undefined {
  const file = join(folder, REWARD_CARD);
  if (!existsSync(file)) return undefined;
  try {
    return cardSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw new CheckpointError({
      where: file,
      expected: 'the card of a reward model',
      received: 'a file that cannot be read as one',
      fix: 'Delete it to use raw scores, or train the reward model again',
      cause,
    });
  }
}
