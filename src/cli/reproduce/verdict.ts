/** From what the seeds gave to a verdict. */
import { ConfigError } from '../../core/errors.ts';
import { mean } from '../../core/statistics.ts';
import type { Estimate } from '../../eval/estimate.ts';
import type { ClaimTest, Measurement, TestResult, Verdict } from './experiment.ts';

/**
 * 0.975 quantiles of Student's t by degrees of freedom, 1 to 30.
 * @source Gosset 1908; any table of the distribution
 */
const t975 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/**
 * Mean of one value per seed with its 95 % interval by Student's t: mean ± t · s / √n, s with n − 1.
 *
 * @throws ConfigError with fewer than two seeds: one says nothing about the next
 * @example seedInterval([1, 2, 3]); // { mean: 2, low: -0.484, high: 4.484 }: 4.303 · 1 / √3 = 2.484
 */
export function seedInterval(values: readonly number[]): Estimate {
  const n = values.length;
  if (n < 2) {
    throw new ConfigError({
      where: 'seedInterval',
      expected: 'at least two seeds',
      received: String(n),
      fix: 'Run with more seeds: --seeds 0,1,2',
    });
  }
  const center = mean(values);
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (n - 1));
  const half = ((t975[n - 2] ?? 1.96) * deviation) / Math.sqrt(n);
  return { mean: center, low: center - half, high: center + half };
}

/** A test is shown when its whole interval is above 0, opposite when all of it is below. */
export function judgeTest(test: ClaimTest, runs: readonly Measurement[]): TestResult {
  const perSeed = runs.map(({ figures }) => {
    const value = figures[test.figure];
    if (value === undefined || !Number.isFinite(value)) {
      throw new ConfigError({
        where: `reproduce (${test.figure})`,
        expected: 'a finite number from every seed',
        received: String(value),
      });
    }
    return value;
  });
  const interval = seedInterval(perSeed);
  const verdict = interval.low > 0 ? 'shown' : interval.high < 0 ? 'opposite' : 'not shown';
  return { ...test, perSeed, interval, verdict };
}

/** The claim is shown when all its tests are, and opposite when one of them is. */
export function combine(results: readonly Pick<TestResult, 'verdict'>[]): Verdict {
  if (results.some(({ verdict }) => verdict === 'opposite')) return 'opposite';
  return results.every(({ verdict }) => verdict === 'shown') ? 'shown' : 'not shown';
}
