import { expect, it } from 'vitest';
import { formatBytes, formatDuration, formatNumber } from './format.ts';
import { formatTable } from './output.ts';

it.each([
  [0, '0'],
  [-0, '0'],
  [12345, '12,345'],
  [-3, '-3'],
  [2.345678, '2.346'],
  [12345.678, '12,346'],
  [0.00005, '5e-5'],
  [0.000123456, '1.235e-4'],
  [0.001, '0.001'],
  [1.5e12, '1.5e12'],
  [Number.NaN, 'NaN'],
])('formatNumber(%d) is %s', (value, text) => {
  expect(formatNumber(value)).toBe(text);
});

it.each([
  [0, '0:00'],
  [7.4, '0:07'],
  [59.6, '1:00'],
  [754, '12:34'],
  [3723, '1:02:03'],
  [Number.POSITIVE_INFINITY, '–'],
])('formatDuration(%d) is %s', (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});

it.each([
  [12, '12 B'],
  [1536, '1.5 KiB'],
  [16 * 1024 ** 3, '16 GiB'],
])('formatBytes(%d) is %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

it('formatTable puts text left and numbers right', () => {
  expect(
    formatTable([
      ['rows', 'tokens'],
      ['chosen', '1,200'],
      ['rejected', '8'],
    ]),
  ).toBe('rows      tokens\nchosen     1,200\nrejected       8');
});
