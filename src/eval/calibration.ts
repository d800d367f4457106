/** Whether a model's probabilities mean what they say: calibration error, Brier score, likelihood, temperature. */
import { DataError, ShapeError } from '../core/errors.ts';

/** One bin of a reliability diagram. */
export interface CalibrationBin {
  /** (low, high] of confidence; the first bin holds its lower end too. */
  readonly low: number;
  readonly high: number;
  readonly count: number;
  /** Mean confidence and share of right predictions; NaN in an empty bin. */
  readonly confidence: number;
  readonly accuracy: number;
}

export interface Calibration {
  /** Expected calibration error: Σ n_b/n · |accuracy_b − confidence_b|, 0 to 1. */
  readonly ece: number;
  /** Mean squared distance of p from the outcome. */
  readonly brier: number;
  /** Mean negative log-likelihood of the outcomes, nats. */
  readonly nll: number;
  readonly bins: readonly CalibrationBin[];
}

/** Where a probability lies within this of an edge it counts as on it: 0.6 computed as 0.1 + 0.5 must not change bins. */
const edgeTolerance = 1e-9;

/**
 * Calibration of binary predictions by confidence c = max(p, 1 − p), in equal bins (low, high] of [0.5, 1]. A prediction
 * is right where p > 0.5 and the outcome is 1, or p ≤ 0.5 and it is 0.
 *
 * @param probabilities p of outcome 1, [N], 0 to 1
 * @param outcomes 1 or 0, [N]
 * @param bins number of bins; 10 when left out
 * @throws ShapeError when the lengths differ or there is no prediction; DataError on a p outside [0, 1]
 * @source Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), eq. 3
 * @example p = [0.9, 0.6], outcomes [1, 0], 5 bins: confidence 0.9 was right, 0.6 was wrong: ece (0.1 + 0.6) / 2 = 0.35
 */
export function calibration(
  probabilities: ArrayLike<number>,
  outcomes: ArrayLike<number>,
  { bins = 10 }: { readonly bins?: number } = {},
): Calibration {
  const n = probabilities.length;
  if (n === 0 || outcomes.length !== n) {
    throw new ShapeError({
      where: 'calibration',
      expected: 'as many outcomes as probabilities, at least one',
      received: `${outcomes.length} outcomes, ${n} probabilities`,
    });
  }
  const width = 0.5 / bins;
  const counts = new Float64Array(bins);
  const confidences = new Float64Array(bins);
  const rights = new Float64Array(bins);
  let [brier, nll] = [0, 0];
  for (let i = 0; i < n; i++) {
    const p = probabilities[i]!;
    if (!(p >= 0 && p <= 1)) {
      throw new DataError({
        where: `calibration(probabilities[${i}])`,
        expected: 'a probability',
        received: String(p),
      });
    }
    const outcome = outcomes[i]!;
    const confidence = Math.max(p, 1 - p);
    const bin = Math.min(Math.max(Math.ceil((confidence - 0.5 - edgeTolerance) / width) - 1, 0), bins - 1);
    counts[bin]!++;
    confidences[bin]! += confidence;
    rights[bin]! += p > 0.5 === (outcome === 1) ? 1 : 0;
    brier += (p - outcome) ** 2;
    nll -= Math.log(Math.max(outcome === 1 ? p : 1 - p, Number.MIN_VALUE));
  }
  let ece = 0;
  const table = Array.from(counts, (count, bin): CalibrationBin => {
    const confidence = confidences[bin]! / count;
    const accuracy = rights[bin]! / count;
    if (count > 0) ece += (count / n) * Math.abs(accuracy - confidence);
    return { low: 0.5 + bin * width, high: 0.5 + (bin + 1) * width, count, confidence, accuracy };
  });
  return { ece, brier: brier / n, nll: nll / n, bins: table };
}

/** −log σ(x) without overflow. */
const softplusOfNegative = (x: number): number => Math.max(-x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/**
 * The temperature T that makes σ(margin/T) most likely: argmin over T of the mean of −log σ(margin/T), by golden section
 * on log T in [−4, 4]. Fit it on held-out pairs, never on those trained on. Above 1 the model was too sure of itself.
 *
 * @param margins score of chosen minus score of rejected, [N]
 * @throws ShapeError when there are no margins
 * @source Guo et al. 2017 (arXiv 1706.04599), section 4.2; Kiefer 1953 (golden section)
 */
export function fitTemperature(margins: ArrayLike<number>): number {
  if (margins.length === 0) {
    throw new ShapeError({ where: 'fitTemperature', expected: 'at least one margin', received: 'none' });
  }
  const nll = (logT: number): number => {
    const scale = Math.exp(-logT);
    let total = 0;
    for (let i = 0; i < margins.length; i++) total += softplusOfNegative(margins[i]! * scale);
    return total;
  };
  const ratio = (Math.sqrt(5) - 1) / 2;
  let [low, high] = [-4, 4];
  while (high - low > 1e-7) {
    const a = high - ratio * (high - low);
    const b = low + ratio * (high - low);
    if (nll(a) <= nll(b)) high = b;
    else low = a;
  }
  return Math.exp((low + high) / 2);
}

/** How well the scores of a reward model agree with preferences. */
export interface PairEvaluation {
  /** Share of pairs with the chosen score above the rejected one; a tie counts as wrong. */
  readonly accuracy: number;
  readonly tieRate: number;
  readonly calibration: Calibration;
  /** Temperature that fits these pairs, and the calibration error after dividing by it. */
  readonly temperature: number;
  readonly eceAtTemperature: number;
}

/** Accuracy and calibration of σ(margin) from the margins of held-out pairs. Throws `ShapeError` when there are none. */
export function evaluatePairs(margins: ArrayLike<number>): PairEvaluation {
  const all = Array.from(margins);
  const sigmoid = (x: number): number => Math.exp(-softplusOfNegative(x));
  const ones = all.map(() => 1);
  const at = (temperature: number): Calibration =>
    calibration(
      all.map((margin) => sigmoid(margin / temperature)),
      ones,
    );
  const temperature = fitTemperature(all);
  return {
    accuracy: all.filter((margin) => margin > 0).length / all.length,
    tieRate: all.filter((margin) => margin === 0).length / all.length,
    calibration: at(1),
    temperature,
    eceAtTemperature: at(temperature).ece,
  };
}
