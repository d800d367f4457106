import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readRows } from './read-rows.ts';
import { type Row, toRows } from './row.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-rows-'));

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function readAll(path: string): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of readRows(path)) rows.push(row);
  return rows;
}

describe('readRows', () => {
  it('reads lines, skips empty ones and keeps every column', async () => {
    const path = write('a.jsonl', '\ufeff{"text":"one","id":7}\r\n\n{"text":"two\u2028lines"}');
    expect(await readAll(path)).toEqual([
      { where: `${path}, row 1`, columns: { text: 'one', id: 7 } },
      { where: `${path}, row 3`, columns: { text: 'two\u2028lines' } },
    ]);
  });

  it('reads gzip by its bytes, whatever the name', async () => {
    const lines = '{"text":"packed"}\n';
    for (const name of ['b.jsonl.gz', 'b.jsonl']) {
      expect((await readAll(write(name, gzipSync(lines))))[0]?.columns).toEqual({ text: 'packed' });
    }
  });

  it('gives any texts back, across chunk borders', async () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 50 }), async (texts) => {
        const path = write('c.jsonl', texts.map((entry) => `${JSON.stringify({ entry })}\n`).join(''));
        expect((await readAll(path)).map((row) => row.columns.entry)).toEqual(texts);
      }),
      { numRuns: 8 },
    );
    // 3 bytes per character: some character lies across the 64 KiB border of chunks.
    const long = '東'.repeat(100_000);
    expect((await readAll(write('d.jsonl', JSON.stringify({ long }))))[0]?.columns.long).toBe(long);
  });

  it('leaves out what is null, at every depth but in lists', async () => {
    const row = { a: null, tools: [null], m: [{ role: 'user', name: null, deep: { x: null, y: 1 } }] };
    const kept = { tools: [null], m: [{ role: 'user', deep: { y: 1 } }] };
    expect((await readAll(write('e.jsonl', JSON.stringify(row))))[0]?.columns).toEqual(kept);
    expect(toRows([row], 'mine')).toEqual([{ where: 'mine, row 1', columns: kept }]);
  });

  it('lets the reader stop early', async () => {
    const path = write('f.jsonl.gz', gzipSync('{"a":1}\n'.repeat(100_000)));
    for await (const row of readRows(path)) {
      expect(row.columns).toEqual({ a: 1 });
      break;
    }
  });

  it.each([
    ['{"a":1}\n{"a":', 'bad.jsonl, line 2: expected valid JSON, received {"a":'],
    ['[\n{"a":1}]', 'Write one object per line instead of one array'],
    ['{"a":1}\n\n"text"', 'bad.jsonl, line 3: expected a JSON object with named columns, received "text"'],
    ['[1]', 'expected a JSON object with named columns, received [1]'],
    ['', 'bad.jsonl: expected at least one row, received an empty data set'],
    ['\n \n', 'received an empty data set'],
    [Uint8Array.of(0x7b, 0xff, 0x7d), 'expected UTF-8 text'],
    [gzipSync('{"a":1}\n'.repeat(50)).subarray(0, 25), 'expected a complete gzip file'],
    ['PAR1…', 'expected JSON Lines, received a Parquet file'],
  ])('names file and line of %j', async (content, message) => {
    await expect(readAll(write('bad.jsonl', content))).rejects.toThrow(message);
  });

  it('says which file is missing', async () => {
    await expect(readAll(join(folder, 'none.jsonl'))).rejects.toThrow(
      /expected a JSON Lines file, received .*none\.jsonl, which does not exist/,
    );
    await expect(readAll(folder)).rejects.toThrow('a folder. Pass the path of one .jsonl');
  });
});
