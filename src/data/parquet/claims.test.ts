import { brotliCompressSync, gzipSync } from 'node:zlib';
import type { SchemaElement, SchemaTree } from 'hyparquet';
import { snappyCompress } from 'hyparquet-writer/src/snappy.js';
import { describe, expect, it } from 'vitest';
import { watchAllocations } from '../../../test/support/watch-allocations.ts';
import { checkDataPage } from './check-page.ts';
import { inflatePage } from './inflate.ts';
import { checkThrift } from './thrift.ts';

const text = new TextEncoder().encode('heed '.repeat(40)); // 200 bytes

/** A Zstandard frame of one raw block, without a checksum; its header claims `size` bytes. */
function zstd(size: number): Uint8Array {
  const frame = [0x28, 0xb5, 0x2f, 0xfd, 0x80, 0x58];
  const claim = [0, 8, 16, 24].map((shift) => (size >>> shift) & 255);
  const head = (text.length << 3) | 1;
  return Uint8Array.from([...frame, ...claim, head & 255, head >> 8, 0, ...text]);
}

/** An LZ4 block of literals only: 15 in the token, the rest behind it. */
const lz4 = Uint8Array.from([0xf0, text.length - 15, ...text]);

describe('inflatePage', () => {
  const codecs: [string, Uint8Array][] = [
    ['UNCOMPRESSED', text],
    ['SNAPPY', snappyCompress(text)],
    ['GZIP', gzipSync(text)],
    ['BROTLI', brotliCompressSync(text)],
    ['ZSTD', zstd(200)],
    ['LZ4_RAW', lz4],
  ];

  it.each(codecs)(
    '%s gives the bytes back, and asks for no memory that they do not prove',
    (codec, bytes) => {
      expect(inflatePage(codec, bytes, 200)).toEqual(text);
      for (const claimed of [0, 199, 201, 1e6, 2 ** 31 - 1]) {
        const watch = watchAllocations();
        try {
          expect(() => inflatePage(codec, bytes, claimed)).toThrow();
          expect(watch.largest()).toBeLessThanOrEqual(400);
        } finally {
          watch.restore();
        }
      }
    },
  );

  it('does not believe the header of a Zstandard frame either', () => {
    const watch = watchAllocations();
    try {
      expect(inflatePage('ZSTD', zstd(2 ** 30), 200)).toEqual(text);
      expect(watch.largest()).toBeLessThanOrEqual(400);
    } finally {
      watch.restore();
    }
  });

  it('names a codec that it does not read', () => {
    expect(() => inflatePage('LZO', text, 200)).toThrow('the compression LZO');
  });
});

/** The path of a column of the top level. */
function column(type: SchemaElement['type'], repetition: 'REQUIRED' | 'OPTIONAL' | 'REPEATED'): SchemaTree[] {
  const tree = (element: SchemaElement): SchemaTree => ({ element, children: [], count: 1, path: [] });
  return [
    tree({ name: 'root', num_children: 1 }),
    tree({ name: 'a', type: type!, repetition_type: repetition }),
  ];
}

describe('checkDataPage', () => {
  const numbers = [...new Uint8Array(new Int32Array([1, 2, 3]).buffer)];
  const check = (bytes: number[], count: number, path: SchemaTree[], encoding = 'PLAIN') =>
    checkDataPage({ bytes: Uint8Array.from(bytes), count, encoding, rowsDue: 100 }, path);

  it('takes what the bytes hold', () => {
    expect(check(numbers, 3, column('INT32', 'REQUIRED'))).toEqual({ rows: 3 });
    // Levels of 2 bytes: a run of 3 values of level 1 (header 3 << 1).
    expect(check([2, 0, 0, 0, 6, 1, ...numbers], 3, column('INT32', 'OPTIONAL'))).toEqual({ rows: 3 });
    // One packed group: levels 1, 0, 1, 1 in its bits; three values, four rows.
    expect(check([2, 0, 0, 0, 3, 0b1101, ...numbers], 4, column('INT32', 'OPTIONAL'))).toEqual({ rows: 4 });
    // Repetition 0, 1, 0: two rows; definition all 1.
    expect(
      check([2, 0, 0, 0, 3, 0b010, 2, 0, 0, 0, 6, 1, ...numbers], 3, column('INT32', 'REPEATED')),
    ).toEqual({
      rows: 2,
    });
    // Indexes of 2 bits into a dictionary: a run of 3.
    expect(check([2, 6, 1], 3, column('BYTE_ARRAY', 'REQUIRED'), 'RLE_DICTIONARY')).toEqual({ rows: 3 });
  });

  it.each<[string, string, number[], number, SchemaTree[], string?]>([
    ['more values than rows', '101 values where 100 rows are due', numbers, 101, column('INT32', 'REQUIRED')],
    [
      'more values than bytes',
      '4 values of 16 bytes where 12 are left',
      numbers,
      4,
      column('INT32', 'REQUIRED'),
    ],
    ['a negative count', '-1 values in a page of 12 bytes', numbers, -1, column('INT32', 'REQUIRED')],
    [
      'two million values in 12 bytes',
      '2000000 values in a page of 12 bytes',
      numbers,
      2e6,
      column('INT32', 'REPEATED'),
    ],
    [
      'levels longer than the page',
      'levels of 99 bytes where 14 are left',
      [99, 0, 0, 0, 6, 1, ...numbers],
      3,
      column('INT32', 'OPTIONAL'),
    ],
    [
      'a run of more values than are due',
      'a run of 4 values where 3 are due',
      [2, 0, 0, 0, 8, 1, ...numbers],
      3,
      column('INT32', 'OPTIONAL'),
    ],
    [
      'a run of none',
      'a run of 0 values where 3 are due',
      [2, 0, 0, 0, 0, 1, ...numbers],
      3,
      column('INT32', 'OPTIONAL'),
    ],
    [
      'runs that end early',
      'runs of 2 values, not 3',
      [2, 0, 0, 0, 4, 1, ...numbers],
      3,
      column('INT32', 'OPTIONAL'),
    ],
    [
      'a packed run of too many groups',
      'packed values of 1 bits where 3 are due',
      [3, 0, 0, 0, 0xff, 0x0f, 7, ...numbers],
      3,
      column('INT32', 'OPTIONAL'),
    ],
    [
      'a text longer than the page',
      'value 1 of 1 with 9 bytes where 1 are left',
      [9, 0, 0, 0, 65],
      1,
      column('BYTE_ARRAY', 'REQUIRED'),
    ],
    [
      'indexes of 33 bits',
      'dictionary indexes of 33 bits',
      [33, 6, 1, 0, 0, 0, 0],
      3,
      column('INT32', 'REQUIRED'),
      'RLE_DICTIONARY',
    ],
    [
      'runs of what is no boolean',
      'runs of the type INT32',
      [2, 0, 0, 0, 6, 1],
      3,
      column('INT32', 'REQUIRED'),
      'RLE',
    ],
    // Blocks of 128, 4 parts, 3 values, first 0; least delta 0; four widths; then a width of 65 bits.
    [
      'deltas of 65 bits',
      'deltas of 65 bits',
      [0x80, 1, 4, 3, 0, 0, 65, 0, 0, 0],
      3,
      column('INT32', 'REQUIRED'),
      'DELTA_BINARY_PACKED',
    ],
    [
      'deltas of no parts',
      'with 0 parts',
      [0x80, 1, 0, 3, 0],
      3,
      column('INT32', 'REQUIRED'),
      'DELTA_BINARY_PACKED',
    ],
    [
      'deltas of other values',
      '9 deltas in blocks of 128',
      [0x80, 1, 4, 9, 0, 0, 0, 0, 0, 0],
      3,
      column('INT32', 'REQUIRED'),
      'DELTA_BINARY_PACKED',
    ],
    [
      'an encoding of another file',
      'the encoding BIT_PACKED',
      numbers,
      3,
      column('INT32', 'REQUIRED'),
      'BIT_PACKED',
    ],
  ])('refuses %s', (_, message, bytes, count, path, encoding) => {
    expect(() => check(bytes, count, path, encoding)).toThrow(message);
  });

  it('refuses a prefix longer than the text before', () => {
    // Prefixes 0, then 2 ** 20 (zigzag 2 ** 21): blocks of 128, one part.
    const deltas = (first: number, delta: number[]): number[] => [0x80, 1, 4, 2, first, ...delta, 0, 0, 0, 0];
    const bytes = [...deltas(0, [0x80, 0x80, 0x80, 1]), ...deltas(4, [0]), 65, 66, 67, 68];
    const path = column('BYTE_ARRAY', 'REQUIRED');
    expect(() => check(bytes, 2, path, 'DELTA_BYTE_ARRAY')).toThrow(
      'text 2 with 1048576 characters of one that has 2',
    );
    // Prefix 2 of a text of 2.
    const good = [...deltas(0, [4]), ...deltas(4, [0]), 65, 66, 67, 68];
    expect(check(good, 2, path, 'DELTA_BYTE_ARRAY')).toEqual({ rows: 2 });
  });
});

describe('checkThrift', () => {
  // Field 1, a list (9) of 3 32-bit numbers (5), stop.
  const list = Uint8Array.of(0x19, 0x35, 2, 4, 6, 0);

  it('ends behind the structure', () => {
    expect(checkThrift(list, 0)).toBe(6);
    expect(checkThrift(Uint8Array.of(9, 9, ...list, 7), 2)).toBe(8);
  });

  it.each<[string, string, number[]]>([
    [
      'a list of more elements than bytes',
      'a list of 268435455 elements where 1 bytes are left',
      [0x19, 0xf5, 0xff, 0xff, 0xff, 0x7f, 0],
    ],
    [
      'a text of more bytes than are left',
      'a value of 16383 bytes where 2 are left',
      [0x18, 0xff, 0x7f, 65, 0],
    ],
    ['a number that does not end', 'a number of more than 10 bytes', [0x15, ...Array(12).fill(0x80)]],
    ['nesting without end', 'structures nested deeper than 32', Array(99).fill(0x1c)],
    ['no end', 'ends behind the last byte', [0x15, 2]],
    ['an unknown type', 'the unknown Thrift type 13', [0x1d, 0]],
  ])('refuses %s', (_, message, bytes) => {
    expect(() => checkThrift(Uint8Array.from(bytes), 0)).toThrow(message);
  });
});
