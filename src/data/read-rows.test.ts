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

async function readAll(path: string, skip = 0): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of readRows(path, skip)) rows.push(row);
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
    ['[\n{"a":1},]', 'bad.jsonl: expected valid JSON, received [\n{"a":1},]'],
    ['{"a":1}\n[2]', 'bad.jsonl, line 2: expected a JSON object with named columns, received [2]'],
    ['{"a":1}\n\n"text"', 'bad.jsonl, line 3: expected a JSON object with named columns, received "text"'],
    ['[1]', 'bad.jsonl, row 1: expected a JSON object with named columns, received 1'],
    [
      `{"a":${'['.repeat(300)}${']'.repeat(300)}}`,
      'bad.jsonl, row 1: expected values nested at most 200 deep',
    ],
    ['', 'bad.jsonl: expected at least one row, received an empty data set'],
    ['\n \n', 'received an empty data set'],
    [Uint8Array.of(0x7b, 0xff, 0x7d), 'expected UTF-8 text'],
    [gzipSync('{"a":1}\n'.repeat(50)).subarray(0, 25), 'expected a complete gzip file'],
    ['PAR1…', 'bad.jsonl, byte 3: expected a Parquet file, which ends with PAR1, received "…"'],
    [
      Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 4, 88, 1),
      'expected a complete Zstandard file, received unexpected EOF',
    ],
    // Windows of 2 ** 10 × 2 ** 21 bytes, and content of 4 GiB in one segment.
    [
      Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0),
      'byte 4: expected a Zstandard frame whose window is at most 128 MiB, received 2048 MiB',
    ],
    [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0, 255, 255, 255, 255, 1, 0, 0), 'received 4096 MiB'],
  ])('names file and line of %j', async (content, message) => {
    await expect(readAll(write('bad.jsonl', content))).rejects.toThrow(message);
  });

  it('says which file is missing', async () => {
    await expect(readAll(join(folder, 'none.jsonl'))).rejects.toThrow(
      /expected a file or folder of rows, .* received .*none\.jsonl, which does not exist/,
    );
    await expect(readAll(folder)).rejects.toThrow('expected a file of rows');
  });

  it('reads an array of objects, on one line or many', async () => {
    const objects = [{ a: 1 }, { a: 2 }, { a: null }];
    for (const text of [JSON.stringify(objects), `\ufeff\n ${JSON.stringify(objects, null, 2)}\n`]) {
      const path = write('array.json', text);
      const rows = [
        { where: `${path}, row 1`, columns: { a: 1 } },
        { where: `${path}, row 2`, columns: { a: 2 } },
        { where: `${path}, row 3`, columns: {} },
      ];
      expect(await readAll(path)).toEqual(rows);
      expect(await readAll(path, 1)).toEqual(rows.slice(1));
    }
  });

  it('reads CSV: quoted line ends, empty cells, and what TRL columns hold', async () => {
    const csv = [
      '\ufeffprompt,completion,label,id,tools',
      '"a ""b"",\nc",[not a list],True,007,"[{""name"":""f""}]"',
      '',
      '"[{""role"":""user"",""content"":""q""}]",y,0,,',
    ].join('\r\n');
    const rows = [
      { prompt: 'a "b",\nc', completion: '[not a list]', label: true, id: '007', tools: [{ name: 'f' }] },
      { prompt: [{ role: 'user', content: 'q' }], completion: 'y', label: false },
    ];
    for (const path of [write('a.csv', csv), write('a.tsv.gz', gzipSync(csv.replaceAll(/,(?!\n)/g, '\t')))]) {
      const read = await readAll(path);
      if (path.endsWith('.csv')) expect(read.map(({ columns }) => columns)).toEqual(rows);
      expect(read.map(({ where }) => where)).toEqual([`${path}, row 1`, `${path}, row 2`]);
    }
  });

  it.each([
    ['a,b\n1,2\n1,2,3\n', 'bad.csv, row 2, line 3: expected CSV with one cell for each column'],
    ['a,b\n"1,2\n', 'bad.csv, row 1, line 2: expected CSV with one cell for each column'],
    ['a,a\n1,2\n', 'bad.csv, line 1: expected a name for each column, none twice, received a twice'],
    ['a,\n1,2\n', 'bad.csv, line 1: expected a name for each column, none twice, received "a", ""'],
    [Uint8Array.of(0x61, 0x0a, 0xff, 0x0a), 'bad.csv, row 1 or later: expected UTF-8 text'],
    ['a,b\n', 'bad.csv: expected at least one row'],
  ])('names file and row of the CSV %j', async (content, message) => {
    await expect(readAll(write('bad.csv', content))).rejects.toThrow(message);
  });

  it('starts at any row of any format, the same rows as without the start', async () => {
    const objects = Array.from({ length: 9 }, (_, id) => ({ id: `n${id}` }));
    const lines = objects.map((object) => JSON.stringify(object));
    const paths = [
      write('s.jsonl', lines.join('\n\n')),
      write('s.json', `[${lines.join(',')}]`),
      write('s.csv', `id\n${objects.map(({ id }) => id).join('\n')}`),
    ];
    for (const path of paths) {
      const all = await readAll(path);
      for (let skip = 0; skip <= 9; skip++) expect(await readAll(path, skip)).toEqual(all.slice(skip));
    }
  });
});
