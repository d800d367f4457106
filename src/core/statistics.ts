/** Statistics of host numbers, in float64. Arguments are any lists of numbers and are never changed. */
import { ConfigError, ShapeError } from './errors.ts';
import type { Rng } from './rng.ts';

/** Ends of an interval, `low` ≤ `high`. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/**
 * Σ xᵢ / n.
 *
 * @throws ShapeError when there are no values
 */
export function mean(values: ArrayLike<number>): number {
  atLeast('mean', values, 1);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
}

/**
 * Mean squared distance from the mean, in two passes: Σ (xᵢ − x̄)² / n for `population` (the values are all there are),
 * Σ (xᵢ − x̄)² / (n − 1) for `sample` (unbiased for what they were drawn from).
 *
 * @throws ShapeError with fewer than one value (population) or two (sample)
 * @example variance([1, 2, 3, 4], 'population'); // 1.25; 'sample' gives 5 / 3
 */
export function variance(values: ArrayLike<number>, kind: 'population' | 'sample'): number {
  atLeast(`variance(${kind})`, values, kind === 'sample' ? 2 : 1);
  const center = mean(values);
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i]! - center) ** 2;
  return squares / (values.length - (kind === 'sample' ? 1 : 0));
}

/** √`variance`, in the unit of the values. */
export function standardDeviation(values: ArrayLike<number>, kind: 'population' | 'sample'): number {
  return Math.sqrt(variance(values, kind));
}

/**
 * Standard error of the mean of independent values: sample deviation / √n.
 *
 * @throws ShapeError with fewer than two values
 * @example standardError([1, 3]); // √2 / √2 = 1
 */
export function standardError(values: ArrayLike<number>): number {
  return Math.sqrt(variance(values, 'sample') / values.length);
}

/** A mean with its standard error. */
export interface MeanWithError {
  readonly mean: number;
  readonly standardError: number;
}

/**
 * Mean of values that come in clusters, as several judgements of one prompt do: with eₖ the sum of the distances from the mean
 * in cluster k of C, the standard error is √(C / (C − 1) · Σ eₖ²) / n. With clusters of one value that is `standardError`.
 *
 * @param clusters the cluster of each value
 * @throws ShapeError with fewer than two clusters, or when the lists differ in length
 * @source Liang & Zeger 1986, "Longitudinal data analysis using generalized linear models", for the mean
 * @example clusteredMean([1, 1, 3, 3], ['a', 'a', 'b', 'b']); // mean 2; √(2 · (4 + 4)) / 4 = 1
 */
export function clusteredMean(values: ArrayLike<number>, clusters: readonly string[]): MeanWithError {
  if (values.length !== clusters.length) {
    throw new ShapeError({
      where: 'clusteredMean',
      expected: `a cluster for each of ${values.length} values`,
      received: `${clusters.length} clusters`,
    });
  }
  const center = mean(values);
  const sums = new Map<string, number>();
  for (const [i, cluster] of clusters.entries())
    sums.set(cluster, (sums.get(cluster) ?? 0) + values[i]! - center);
  const distances = Array.from(sums.values());
  atLeast('clusteredMean: clusters', distances, 2);
  const squares = distances.reduce((sum, distance) => sum + distance ** 2, 0);
  const { length: C } = distances;
  return { mean: center, standardError: Math.sqrt((C / (C - 1)) * squares) / values.length };
}

/**
 * The value below which a share p lies: between the sorted values at positions ⌊h⌋ and ⌊h⌋ + 1, h = (n − 1)p, in
 * proportion.
 *
 * @param p share in [0, 1]; 0 is the least value, 0.5 the median, 1 the greatest
 * @throws ShapeError when there are no values; ConfigError when p is outside [0, 1]
 * @source Hyndman & Fan 1996, "Sample quantiles in statistical packages", definition 7 (NumPy's default)
 * @example quantile([10, 20, 40], 0.75); // h = 1.5: 30
 */
export function quantile(values: ArrayLike<number>, p: number): number {
  atLeast('quantile', values, 1);
  return quantileOfSorted(Float64Array.from(values).sort(), p);
}

function quantileOfSorted(sorted: Float64Array, p: number): number {
  share('quantile(p)', p, p >= 0 && p <= 1);
  const position = (sorted.length - 1) * p;
  const below = Math.floor(position);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (high - low) * (position - below);
}

/**
 * Wilson's interval for a probability from `successes` among `trials`: the p for which the observed share is within z
 * standard errors √(p(1 − p)/n). Center (p̂ + z²/2n) / (1 + z²/n), half width z√(p̂(1 − p̂)/n + z²/4n²) / (1 + z²/n).
 * It holds its level also for few trials and for shares near 0 and 1.
 *
 * @param confidence share of such intervals that contain the probability, in (0, 1)
 * @throws ConfigError unless 0 ≤ successes ≤ trials, trials > 0
 * @source Wilson 1927, "Probable inference, the law of succession, and statistical inference"
 * @example wilsonInterval(0, 10); // { low: 0, high: 0.2775 }
 */
export function wilsonInterval(successes: number, trials: number, confidence = 0.95): Interval {
  if (!(trials > 0 && successes >= 0 && successes <= trials)) {
    throw new ConfigError({
      where: 'wilsonInterval',
      expected: 'successes between 0 and a positive number of trials',
      received: `${successes} of ${trials}`,
      fix: 'Count both over the same trials',
    });
  }
  const z = twoSided('wilsonInterval(confidence)', confidence);
  const rate = successes / trials;
  const scale = 1 + z ** 2 / trials;
  const center = (rate + z ** 2 / (2 * trials)) / scale;
  const half = (z * Math.sqrt((rate * (1 - rate)) / trials + z ** 2 / (4 * trials ** 2))) / scale;
  // The ends 0 and 1 are reached exactly in theory, and missed by rounding.
  return {
    low: successes === 0 ? 0 : Math.max(0, center - half),
    high: successes === trials ? 1 : Math.min(1, center + half),
  };
}

export interface BootstrapOptions {
  /** Draw i of resample r is `rng.integer(n, r, i)`: the same stream gives the same interval. */
  readonly rng: Rng;
  /** What is estimated, from one resample; the mean when left out. */
  readonly statistic?: (values: Float64Array) => number;
  /** Resamples, 1000 when left out. Time grows with them; the ends' own error shrinks with their root. */
  readonly resamples?: number;
  /** Share of such intervals that contain the true value, in (0, 1); 0.95 when left out. */
  readonly confidence?: number;
}

/**
 * Percentile bootstrap interval: the statistic of many resamples (n values drawn with replacement from the n given), cut
 * at its (1 ± confidence)/2 quantiles. Values must be independent: resample prompts, not tokens. Too narrow for few
 * values (by about a tenth at n = 20).
 *
 * @throws ShapeError when there are no values; ConfigError on a confidence outside (0, 1) or fewer than two resamples
 * @source Efron 1979, "Bootstrap methods: another look at the jackknife"; Efron & Tibshirani 1993, section 13.3
 */
export function bootstrapInterval(values: ArrayLike<number>, options: BootstrapOptions): Interval {
  const { rng, statistic = mean, resamples = 1000, confidence = 0.95 } = options;
  const n = atLeast('bootstrapInterval', values, 1);
  share('bootstrapInterval(confidence)', confidence, confidence > 0 && confidence < 1);
  if (!Number.isInteger(resamples) || resamples < 2) {
    throw new ConfigError({
      where: 'bootstrapInterval(resamples)',
      expected: 'a whole number of 2 or more',
      received: String(resamples),
      fix: 'Use about 1000',
    });
  }
  const drawn = new Float64Array(n);
  const results = new Float64Array(resamples);
  for (let r = 0; r < resamples; r++) {
    for (let i = 0; i < n; i++) drawn[i] = values[rng.integer(n, r, i)]!;
    results[r] = statistic(drawn);
  }
  results.sort();
  return {
    low: quantileOfSorted(results, (1 - confidence) / 2),
    high: quantileOfSorted(results, (1 + confidence) / 2),
  };
}

/** Count, mean and sum of squared distances from the mean: enough for a variance, and plain data for a checkpoint. */
export interface Moments {
  readonly count: number;
  readonly mean: number;
  /** Σ (xᵢ − x̄)². */
  readonly squares: number;
}

/** Moments of no values. */
export const noMoments: Moments = { count: 0, mean: 0, squares: 0 };

/** Moments of a list, in two passes. */
export function momentsOf(values: ArrayLike<number>): Moments {
  if (values.length === 0) return noMoments;
  const center = mean(values);
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i]! - center) ** 2;
  return { count: values.length, mean: center, squares };
}

/**
 * Moments of two sets of values together, without cancellation: with δ = x̄_b − x̄_a and n = n_a + n_b, the mean is
 * x̄_a + δ·n_b/n and the squares S_a + S_b + δ²·n_a·n_b/n. Running statistics are `merge(soFar, momentsOf(batch))`.
 *
 * @source Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1
 */
export function mergeMoments(a: Moments, b: Moments): Moments {
  const count = a.count + b.count;
  if (count === 0) return noMoments;
  const shift = b.mean - a.mean;
  return {
    count,
    mean: a.mean + (shift * b.count) / count,
    squares: a.squares + b.squares + (shift ** 2 * a.count * b.count) / count,
  };
}

/** Variance of values known by their moments; as `variance`, NaN where there are too few of them. */
export function varianceOf({ count, squares }: Moments, kind: 'population' | 'sample'): number {
  const degrees = kind === 'sample' ? count - 1 : count;
  return degrees > 0 ? squares / degrees : Number.NaN;
}

/**
 * Standard normal distribution function Φ(z), by Φ(z) = ½ + φ(z) Σₖ z²ᵏ⁺¹ / (1·3·…·(2k + 1)); error below 1e-15 for
 * |z| ≤ 6.
 *
 * @source Marsaglia 2004, "Evaluating the normal distribution", section 2
 * @example normalCdf(1.959964); // 0.975
 */
export function normalCdf(z: number): number {
  if (Math.abs(z) > 9) return z < 0 ? 0 : 1;
  let term = z;
  let sum = z;
  for (let k = 1; Math.abs(term) > 1e-17 * Math.abs(sum); k++) {
    term *= z ** 2 / (2 * k + 1);
    sum += term;
  }
  return 0.5 + sum * normalDensity(z);
}

/**
 * The z with Φ(z) = p, by Newton's method from 0, which approaches monotonically on either side of the median.
 *
 * @param p in (0, 1); accurate to 1e-9 for p between 1e-6 and 1 − 1e-6
 * @throws ConfigError when p is outside (0, 1)
 * @example normalQuantile(0.975); // 1.959963984540054
 */
export function normalQuantile(p: number): number {
  share('normalQuantile(p)', p, p > 0 && p < 1);
  let z = 0;
  for (let iteration = 0; iteration < 100; iteration++) {
    const step = (normalCdf(z) - p) / normalDensity(z);
    z -= step;
    if (Math.abs(step) < 1e-14) break;
  }
  return z;
}

function normalDensity(z: number): number {
  return Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
}

/** Standard errors on either side that hold a share `confidence` of a normal distribution. */
function twoSided(where: string, confidence: number): number {
  share(where, confidence, confidence > 0 && confidence < 1);
  return normalQuantile((1 + confidence) / 2);
}

function share(where: string, value: number, holds: boolean): void {
  if (holds) return;
  throw new ConfigError({
    where,
    expected: 'a share between 0 and 1',
    received: String(value),
    fix: 'Pass 0.95 for 95 %',
  });
}

function atLeast(where: string, values: ArrayLike<number>, count: number): number {
  if (values.length >= count) return values.length;
  throw new ShapeError({
    where,
    expected: `at least ${count} value${count === 1 ? '' : 's'}`,
    received: String(values.length),
    fix: 'Check that anything was collected before asking for its statistics',
  });
}
