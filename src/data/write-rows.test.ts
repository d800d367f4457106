import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { loadRows } from './data-source.ts';
import { toRows } from './row.ts';
import { flatMapStream, listStream } from './stream.ts';
import { writeRows } from './write-rows.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-write-'));
afterAll(() => rmSync(folder, { recursive: true }));

const stream = (objects: readonly Record<string, unknown>[]) => listStream(toRows(objects));
async function roundTrip(name: string, objects: readonly Record<string, unknown>[]): Promise<unknown[]> {
  const path = join(folder, name);
  expect(await writeRows(path, stream(objects))).toBe(objects.length);
  return (await loadRows(path, { from: 'none' })).map(({ columns }) => columns);
}

const user = (content: string) => ({ role: 'user', content });
const call = { type: 'function', function: { name: 'f', arguments: { a: 1 } } };
const rows = [
  { messages: [user('東京'), { role: 'assistant', tool_calls: [call] }], score: 1, ok: true, id: 'a' },
  { messages: [user('')], score: 0.25, tags: ['x', ''], mixed: 'text', deep: [[1], [], [2, 3]] },
  { messages: [], score: -2, ok: false, tags: [], mixed: [1], info: { a: { b: 2 } }, big: 2 ** 40 },
  {
    id: 'b',
    info: {},
    tools: [
      { name: 'f', parameters: { x: 1 } },
      { name: 'g', parameters: 'none' },
    ],
  },
];

describe('writeRows', () => {
  it.each(['a.jsonl', 'a.jsonl.gz', 'a.parquet'])('%s gives the rows back', async (name) => {
    expect(await roundTrip(name, rows)).toEqual(rows);
  });

  it('Parquet gives any rows back, over several row groups', async () => {
    const cell = fc.letrec((tie) => ({
      cell: fc.oneof(
        { depthSize: 'small' },
        fc.string({ unit: 'grapheme', maxLength: 12 }),
        fc.boolean(),
        fc.integer(),
        // JSON has no -0.
        fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0),
        fc.array(fc.oneof({ weight: 5, arbitrary: tie('cell') }, fc.constant(null)), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('a', 'b', 'role', 'content'), tie('cell'), {
          maxKeys: 3,
          noNullPrototype: true,
        }),
      ),
    })).cell;
    const row = fc.dictionary(fc.constantFrom('p', 'q', 'r'), cell, { minKeys: 1, noNullPrototype: true });
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 12 }), async (objects) => {
        expect(await roundTrip('any.parquet', objects as Record<string, unknown>[])).toEqual(objects);
      }),
      { numRuns: 200 },
    );
    const many = Array.from({ length: 2345 }, (_, id) => ({ id, messages: [user(`m${id % 10}`)] }));
    expect(await roundTrip('many.parquet', many)).toEqual(many);
    expect((await loadRows(join(folder, 'many.parquet'), { limit: 1 }))[0]!.columns).toEqual(many[0]);
  });

  it('writes bytes to Parquet, not to JSON', async () => {
    const picture = Uint8Array.of(0x89, 0xff, 0);
    expect(await roundTrip('bytes.parquet', [{ picture }, { a: 1 }])).toEqual([{ picture }, { a: 1 }]);
    await expect(writeRows(join(folder, 'bytes.jsonl'), stream([{ picture }]))).rejects.toThrow(
      'rows, row 1, `picture`: expected values that JSON can hold, received 3 bytes',
    );
    await expect(
      writeRows(join(folder, 'b.parquet'), stream([{ picture }, { picture: 'x' }])),
    ).rejects.toThrow('rows, row 2, `picture`: expected a column of bytes throughout');
  });

  it('leaves the old file and nothing else behind when something fails', async () => {
    for (const name of ['old.jsonl', 'old.jsonl.gz', 'old.parquet']) {
      const path = join(folder, name);
      writeFileSync(path, 'old');
      const breaking = flatMapStream(stream(rows), (row) => {
        if (row.columns.id === 'b') throw new Error('broken');
        return [row];
      });
      await expect(writeRows(path, breaking)).rejects.toThrow('broken');
      await expect(writeRows(path, stream([]))).rejects.toThrow('expected at least one row to write');
    }
    expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([]);
    await expect(writeRows(join(folder, 'a.csv'), stream(rows))).rejects.toThrow(
      'ends with .jsonl, .jsonl.gz, .parquet',
    );
  });
});
