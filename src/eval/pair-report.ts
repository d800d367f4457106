/** How well scores agree with preferences: by kind of pair, and whether their differences mean what they say. */
import { DataError } from '../core/errors.ts';
import type { Rng } from '../core/rng.ts';
import type { Group } from './by-group.ts';
import { type Calibration, calibration, fitTemperature } from './calibration.ts';
import { type Estimate, estimateShare } from './estimate.ts';

/** Accuracy over the pairs of one kind; a tie counts as wrong. */
export interface PairAccuracy {
  readonly name: string;
  readonly pairs: number;
  /** Share with the chosen score above the rejected one, with Wilson's interval. */
  readonly accuracy: Estimate;
  readonly tieRate: number;
}

export interface PairReport {
  /** All pairs first, then each group. */
  readonly groups: readonly PairAccuracy[];
  /** Mean of the groups' accuracies, each counting once, as RewardBench adds its sections; only with two or more. */
  readonly meanOfGroups?: number;
  /** Temperature fitted on a part of the pairs drawn at random, and what it does on the others. */
  readonly temperature: number;
  readonly fittedOn: number;
  readonly before: Calibration;
  readonly after: Calibration;
}

/**
 * @param margins score of chosen minus score of rejected, [N]
 * @param groups `all` first, as `groupRows` gives them; indices into the margins
 * @param options `rng` draws the half on which the temperature is fitted; `bins` of confidence
 * @throws DataError when there are fewer than four pairs: there is nothing to fit and to test a temperature on
 */
export function pairReport(
  margins: readonly number[],
  groups: readonly Group[],
  { rng, bins = 10 }: { readonly rng: Rng; readonly bins?: number },
): PairReport {
  if (margins.length < 4) {
    throw new DataError({
      where: 'pairReport',
      expected: 'at least 4 pairs that could be scored',
      received: String(margins.length),
      fix: 'Evaluate on more rows',
    });
  }
  const figures = groups
    .filter(({ indices }) => indices.length > 0)
    .map(({ name, indices }): PairAccuracy => {
      const own = indices.map((index) => margins[index]!);
      return {
        name,
        pairs: own.length,
        accuracy: estimateShare(own.map((margin) => margin > 0)),
        tieRate: own.filter((margin) => margin === 0).length / own.length,
      };
    });
  const order = Array.from(rng.permutation(margins.length));
  const half = Math.floor(margins.length / 2);
  const part = (indices: readonly number[]): number[] => indices.map((index) => margins[index]!);
  const [fitted, tested] = [part(order.slice(0, half)), part(order.slice(half))];
  const temperature = fitTemperature(fitted);
  const at = (scale: number): Calibration =>
    calibration(
      tested.map((margin) => 1 / (1 + Math.exp(-margin / scale))),
      tested.map(() => 1),
      { bins },
    );
  const kinds = figures.slice(1);
  return {
    groups: figures,
    ...(kinds.length > 1 && {
      meanOfGroups: kinds.reduce((sum, { accuracy }) => sum + accuracy.mean, 0) / kinds.length,
    }),
    ...{ temperature, fittedOn: half, before: at(1), after: at(temperature) },
  };
}
