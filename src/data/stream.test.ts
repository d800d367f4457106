import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRng } from '../core/rng.ts';
import { toRows } from './row.ts';
import { rowKey } from './row-key.ts';
import {
  type Cursor,
  collect,
  concatStreams,
  fileStream,
  filterStream,
  flatMapStream,
  listStream,
  mapStream,
  mixStreams,
  type Stream,
  shuffleStream,
  takeStream,
  uniqueStream,
} from './stream.ts';

const numbers = (count: number, from = 0): number[] =>
  Array.from({ length: count }, (_, index) => from + index);
const rng = (seed = 1) => createRng(seed).split('test');

/** A stream over streams, drawn: every combinator, nested at will. */
const anyStream: fc.Arbitrary<Stream<number>> = fc.letrec<{ stream: Stream<number> }>((tie) => ({
  stream: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.nat(12).map((count) => listStream(numbers(count))),
    fc
      .tuple(tie('stream'), fc.nat(3))
      .map(([stream, copies]) =>
        flatMapStream(stream, (value) =>
          Array.from({ length: (value + copies) % 4 }, (_, copy) => 10 * value + copy),
        ),
      ),
    tie('stream').map((stream) => mapStream(stream, (value) => value + 1)),
    tie('stream').map((stream) => filterStream(stream, (value) => value % 3 !== 0)),
    tie('stream').map((stream) => uniqueStream(stream, (value) => String(value % 7))),
    fc.tuple(tie('stream'), fc.nat(9)).map(([stream, count]) => takeStream(stream, count)),
    fc
      .tuple(tie('stream'), fc.integer({ min: 1, max: 9 }), fc.nat(9))
      .map(([stream, block, seed]) => shuffleStream(stream, { rng: rng(seed), block })),
    fc.array(tie('stream'), { maxLength: 3 }).map(concatStreams),
    fc
      .tuple(
        fc.array(tie('stream'), { minLength: 1, maxLength: 3 }),
        fc.constantFrom('first', 'all', 'repeat'),
        fc.nat(9),
      )
      .map(([streams, stop, seed]) =>
        mixStreams(streams, { weights: streams.map((_, index) => index + 1), rng: rng(seed), stop }),
      ),
  ),
})).stream;

describe('streams', () => {
  it('go on from any cursor with exactly what was still to come', async () => {
    await fc.assert(
      fc.asyncProperty(anyStream, async (stream) => {
        const values: number[] = [];
        const cursors: Cursor[] = [null];
        for await (const { value, next } of stream.from()) {
          values.push(value);
          // As it comes back from a checkpoint.
          cursors.push(JSON.parse(JSON.stringify(next)) as Cursor);
        }
        const stride = Math.ceil(cursors.length / 20);
        for (let at = 0; at < cursors.length; at += stride) {
          expect(await collect(stream, cursors[at])).toEqual(values.slice(at));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('shuffle: every value once, within its block, all orders equally likely', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(60), fc.integer({ min: 1, max: 20 }), fc.nat(), async (count, block, seed) => {
        const shuffled = await collect(shuffleStream(listStream(numbers(count)), { rng: rng(seed), block }));
        expect([...shuffled].sort((a, b) => a - b)).toEqual(numbers(count));
        for (const [place, value] of shuffled.entries()) {
          expect(Math.floor(place / block)).toBe(Math.floor(value / block));
        }
      }),
    );
    // Each block has an order of its own.
    const blocks = await collect(shuffleStream(listStream(numbers(100)), { rng: rng(), block: 10 }));
    const orders10 = Array.from({ length: 10 }, (_, block) =>
      blocks
        .slice(10 * block, 10 * block + 10)
        .map((value) => value % 10)
        .join(''),
    );
    expect(new Set(orders10).size).toBe(10);
    // Six orders of three values in 6000 draws: 1000 each, standard deviation 29.
    const orders = new Map<string, number>();
    for (let seed = 0; seed < 6000; seed++) {
      const order = (await collect(shuffleStream(listStream([0, 1, 2]), { rng: rng(seed) }))).join('');
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    expect(orders.size).toBe(6);
    for (const count of orders.values()) expect(Math.abs(count - 1000)).toBeLessThan(130);
  });

  it('mix in the proportions of the weights, to the end', async () => {
    const streams = [numbers(10_000), numbers(10_000, 1e6)].map((values) => listStream(values));
    const mixed = await collect(mixStreams(streams, { weights: [3, 1], rng: rng() }));
    const fromFirst = mixed.filter((value) => value < 1e6);
    // Binomial with p = 3/4 over about 13 300 draws: standard deviation 0.0038.
    expect(fromFirst.length / mixed.length).toBeCloseTo(0.75, 1.8);
    expect(Math.abs(fromFirst.length / mixed.length - 0.75)).toBeLessThan(0.015);
    // It ends when the first stream does, and each stream keeps its order.
    expect(fromFirst).toEqual(numbers(10_000));
    const half = mixed.slice(0, mixed.length / 2).filter((value) => value < 1e6).length / (mixed.length / 2);
    expect(Math.abs(half - 0.75)).toBeLessThan(0.02);
  });

  it('mix all: every value once; repeat: every stream whole', async () => {
    const streams = () => [listStream(numbers(3)), listStream(numbers(40, 100))];
    const all = await collect(mixStreams(streams(), { weights: [1, 1], rng: rng(), stop: 'all' }));
    expect([...all].sort((a, b) => a - b)).toEqual([...numbers(3), ...numbers(40, 100)]);
    const repeated = await collect(mixStreams(streams(), { weights: [1, 1], rng: rng(), stop: 'repeat' }));
    expect(repeated.filter((value) => value >= 100)).toEqual(numbers(40, 100));
    const again = repeated.filter((value) => value < 100);
    expect(again.length).toBeGreaterThan(20);
    expect(again.slice(0, 6)).toEqual([0, 1, 2, 0, 1, 2]);
    // A stream of nothing is whole when it was asked once.
    const empty = [listStream<number>([]), listStream([1])];
    const ones = await collect(mixStreams(empty, { weights: [9, 1], rng: rng(), stop: 'repeat' }));
    expect(new Set(ones)).toEqual(new Set([1]));
    expect(() => mixStreams(empty, { weights: [1], rng: rng() })).toThrow('expected 2 numbers above 0');
    expect(() => mixStreams(empty, { weights: [1, 0], rng: rng() })).toThrow('received 1, 0');
  });

  it('read files of several kinds as one, from any row', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'heed-stream-'));
    const files = ['a.jsonl', 'b.jsonl.gz', 'c.csv'].map((name) => join(folder, name));
    writeFileSync(files[0]!, '{"text":"1"}\n\n{"text":"2"}\n');
    writeFileSync(files[1]!, gzipSync('{"text":"3"}\n'));
    writeFileSync(files[2]!, 'text\n4\n5\n');
    const stream = mapStream(fileStream(files), ({ columns }) => columns.text);
    expect(await collect(stream)).toEqual(['1', '2', '3', '4', '5']);
    const cursors: Cursor[] = [null];
    for await (const { next } of stream.from()) cursors.push(next);
    for (const [at, cursor] of cursors.entries()) {
      expect(await collect(stream, cursor)).toEqual(['1', '2', '3', '4', '5'].slice(at));
    }
  });
});

describe('rowKey', () => {
  const key = (columns: Record<string, unknown>, sameness?: 'exact' | 'normalized') =>
    rowKey(toRows([columns])[0]!, sameness);

  it('looks at what is learned', () => {
    expect(key({ prompt: 'a', completion: 'b', id: 1 })).toBe(key({ completion: 'b', prompt: 'a', id: 2 }));
    expect(key({ prompt: 'a', completion: 'b' })).not.toBe(key({ prompt: 'a', completion: 'c' }));
    expect(key({ prompt: 'a', completion: 'b', label: true })).not.toBe(
      key({ prompt: 'a', completion: 'b', label: false }),
    );
    expect(key({ question: 'a' })).not.toBe(key({ question: 'b' }));
  });

  it('normalized: whatever the case, spacing and punctuation', () => {
    const messages = (content: string) => ({ messages: [{ role: 'user', content }] });
    expect(key(messages('Wie heißt  das?'), 'normalized')).toBe(key(messages('wie heißt das'), 'normalized'));
    expect(key(messages('Wie heißt  das?'))).not.toBe(key(messages('wie heißt das')));
    expect(key(messages('ﬁne'), 'normalized')).toBe(key(messages('Fine!'), 'normalized'));
    expect(key(messages('a b'), 'normalized')).not.toBe(key(messages('ab'), 'normalized'));
    expect(key(messages('東京'), 'normalized')).not.toBe(key(messages('大阪'), 'normalized'));
  });
});
