/** Integers between two bounds as a regular expression. */
import { ConfigError } from '../../core/errors.ts';

/**
 * A regular expression of the integers from `min` to `max`, without leading zeros and without −0.
 *
 * @throws ConfigError when there is none
 * @example integerRange(8, 12) // '(?:[8-9]|1[0-2])'
 */
export function integerRange(min: number, max: number, where = 'integerRange'): string {
  const [low, high] = [Math.ceil(min), Math.floor(max)];
  if (low > high) {
    throw new ConfigError({
      where,
      expected: 'an integer between minimum and maximum',
      received: `none from ${min} to ${max}`,
      fix: 'Raise the maximum',
    });
  }
  const parts: string[] = [];
  if (low < 0) parts.push(`-(?:${naturals(Math.max(1, -high), -low).join('|')})`);
  if (high >= 0) parts.push(...naturals(Math.max(0, low), high));
  return `(?:${parts.join('|')})`;
}

/** Of 0 ≤ low ≤ high: one part per number of digits, then per leading digits that the bounds share. */
function naturals(low: number, high: number): string[] {
  const parts: string[] = [];
  for (let from = low; from <= high; ) {
    const to = Math.min(high, 10 ** String(from).length - 1);
    parts.push(sameLength(String(from), String(to)));
    from = to + 1;
  }
  return parts;
}

/** Numbers of one length between two bounds, digit by digit. */
function sameLength(low: string, high: string): string {
  const [first, last] = [low[0]!, high[0]!];
  const [lowRest, highRest] = [low.slice(1), high.slice(1)];
  const digit = (from: string, to: string): string => (from === to ? from : `[${from}-${to}]`);
  const any = (count: number): string => (count === 0 ? '' : `[0-9]{${count}}`);
  if (lowRest === '') return digit(first, last);
  if (first === last) return first + sameLength(lowRest, highRest);
  const nines = '9'.repeat(lowRest.length);
  const zeros = '0'.repeat(lowRest.length);
  const parts: string[] = [];
  let [from, to] = [Number(first), Number(last)];
  if (lowRest !== zeros) {
    parts.push(first + sameLength(lowRest, nines));
    from++;
  }
  if (highRest !== nines) {
    parts.push(last + sameLength(zeros, highRest));
    to--;
  }
  if (from <= to) parts.push(digit(String(from), String(to)) + any(lowRest.length));
  return `(?:${parts.join('|')})`;
}
