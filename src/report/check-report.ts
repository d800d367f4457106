import { DataError, NumericError } from '../core/errors.ts';
import type { QuickstartReport } from './quickstart-report.ts';

/**
 * Looks at every number of a report, so that no chart silently leaves out what it cannot draw.
 *
 * @throws NumericError when a number is not finite; DataError when an interval's `low` is above its `high`. Both name
 *   the field: `report.policies.ppo.attributes.honesty.mean`.
 */
export function checkReport(report: QuickstartReport): void {
  walk(report, 'report');
}

function walk(value: unknown, path: string): void {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new NumericError({
      where: path,
      expected: 'a finite number',
      received: String(value),
      fix: 'Leave the figure out if the run did not measure it',
    });
  }
  if (typeof value !== 'object' || value === null) return;
  if ('low' in value && 'high' in value && Number(value.low) > Number(value.high)) {
    throw new DataError({
      where: path,
      expected: 'an interval with low ≤ high',
      received: `low ${value.low} and high ${value.high}`,
      fix: 'Swap the ends',
    });
  }
  for (const [key, item] of Object.entries(value)) {
    walk(item, Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`);
  }
}
