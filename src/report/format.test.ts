import { describe, expect, it } from 'vitest';
import {
  formatFixed,
  formatInterval,
  formatList,
  formatMeasure,
  formatMemory,
  formatSeconds,
  formatShare,
  policyLabel,
  wordsOf,
} from './format.ts';

/** Spaces of every kind as plain ones. */
const plain = (text: string): string => text.replace(/[\u00a0\u202f]/g, ' ');

describe('numbers of the report', () => {
  it('have a real minus sign, and none for what rounds to zero', () => {
    expect(formatFixed(-1234.5)).toBe('−1,234.50');
    expect(formatFixed(-0.001)).toBe('0.00');
  });

  it('show one more digit of a share below ten percent', () => {
    expect([0, 0.004, 0.0994, 0.0996, 0.425, 1].map((share) => plain(formatShare(share)))).toEqual([
      '0 %',
      '0.4 %',
      '9.9 %',
      '10 %',
      '43 %',
      '100 %',
    ]);
  });

  it('show three significant digits of a measure', () => {
    expect([0, 12, 0.01234, 1.234, 123.4, 123456, 0.00001234, -0.00001234, 3e9].map(formatMeasure)).toEqual([
      ...['0', '12', '0.0123', '1.23', '123', '123,456', '1.23e−5', '−1.23e−5', '3.00e+9'],
    ]);
  });

  it('choose the unit of times and of memory', () => {
    expect([0.04, 4.24, 59.4, 59.6, 72, 3599.7, 7500].map((s) => plain(formatSeconds(s)))).toEqual([
      ...['0.0 s', '4.2 s', '59 s', '1 min 0 s', '1 min 12 s', '1 h 0 min', '2 h 5 min'],
    ]);
    expect([2 ** 29, 1.9 * 2 ** 30].map((bytes) => plain(formatMemory(bytes)))).toEqual([
      '512 MiB',
      '1.9 GiB',
    ]);
  });

  it('write intervals, lists and names as words', () => {
    expect(formatInterval({ mean: 0, low: -1, high: 2 }, formatFixed)).toBe('−1.00 to 2.00');
    expect([[], ['a'], ['a', 'b'], ['a', 'b', 'c']].map(formatList)).toEqual([
      '',
      'a',
      'a and b',
      'a, b and c',
    ]);
    expect(wordsOf('overRefusal')).toBe('over-refusal');
    expect(['bestOfN', 'rejection'].map(policyLabel)).toEqual(['Best-of-n', 'rejection']);
  });
});
