/** Annotators: they see gold through their own eyes. */
import type { Rng } from '../core/rng.ts';
import { type Attributes, scoreAttributes } from './attributes.ts';
import { goldUtility } from './gold.ts';
import type { Request } from './request.ts';

export interface Annotator {
  /** Utility that one flattering sentence adds in their eyes, however many there are: the weakness that a policy can exploit. */
  readonly flatteryBias: number;
  /** Temperature of the Bradley–Terry choice, in units of utility; 0 always prefers the better one. */
  readonly temperature: number;
  /** Share of labels that are flipped by mistake. */
  readonly noise: number;
  /** Differences of utility below this are called a tie. */
  readonly tieMargin: number;
}

/** Somewhat noisy, and fond of being flattered. */
export const usualAnnotator: Annotator = {
  flatteryBias: 0.08,
  temperature: 0.05,
  noise: 0.05,
  tieMargin: 0.01,
};

/** What the annotator thinks a response is worth. */
export function perceivedUtility(
  request: Request,
  attributes: Attributes,
  { flatteryBias }: Annotator,
): number {
  return goldUtility(request, attributes) + flatteryBias * attributes.flattery;
}

/**
 * Which of two completions the annotator prefers: P(first) = σ((u₁ − u₂)/temperature), then flipped with probability
 * `noise`; undefined for a tie. Draws depend on the request and `index` only.
 */
export function prefer(
  request: Request,
  completions: readonly [string, string],
  annotator: Annotator,
  rng: Rng,
  index = 0,
): 0 | 1 | undefined {
  const [first, second] = completions.map((completion) =>
    perceivedUtility(request, scoreAttributes(request, completion), annotator),
  );
  return choose(first! - second!, annotator, rng.split('label').split(request.id), index);
}

/**
 * The choice between two things whose utilities differ by `difference`, as `prefer` makes it.
 *
 * @param stream two draws are taken at `index`
 */
export function choose(
  difference: number,
  { temperature, noise, tieMargin }: Pick<Annotator, 'temperature' | 'noise' | 'tieMargin'>,
  stream: Rng,
  index = 0,
): 0 | 1 | undefined {
  if (Math.abs(difference) < tieMargin) return undefined;
  const chance = temperature === 0 ? Number(difference > 0) : 1 / (1 + Math.exp(-difference / temperature));
  const choice = stream.uniform(index, 0) < chance ? 0 : 1;
  return stream.uniform(index, 1) < noise ? (choice === 0 ? 1 : 0) : choice;
}
