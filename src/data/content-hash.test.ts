import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { contentHash } from './content-hash.ts';

describe('contentHash', () => {
  it('is SHA-256 of JSON with sorted keys', () => {
    const expected = createHash('sha256').update('{"a":[1,"x",null],"b":{"c":true}}').digest('hex');
    expect(contentHash({ b: { c: true }, a: [1, 'x', null] })).toBe(expected);
    expect(contentHash({ a: [1, 'x', null], b: { c: true, d: undefined } })).toBe(expected);
  });

  it('tells values apart', () => {
    const values = [
      [1, 2],
      [2, 1],
      ['1', '2'],
      '12',
      12,
      12n,
      null,
      {},
      [],
      Int32Array.of(1, 2),
      Float32Array.of(1, 2),
      Uint8Array.of(1, 2),
      new Map([[1, 2]]),
      new Set([1, 2]),
      { a: 1 },
      { a: { b: 1 } },
      { 'a":{"b': 1 },
    ];
    expect(new Set(values.map(contentHash)).size).toBe(values.length);
    expect(contentHash(Buffer.from([1, 2]))).toBe(contentHash(Uint8Array.of(1, 2)));
    expect(contentHash(Uint8Array.of(0, 1, 2).subarray(1))).toBe(contentHash(Uint8Array.of(1, 2)));
  });

  it('refuses what has no content', () => {
    expect(() => contentHash({ loss: Number.NaN })).toThrow(
      'expected plain values, typed arrays, maps and sets, received NaN',
    );
    expect(() => contentHash(() => 1)).toThrow('received function');
  });
});
