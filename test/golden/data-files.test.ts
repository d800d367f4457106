/** Parquet and Zstandard files of pyarrow: each gives the rows that were written. Recorded by record-data-files.py. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readRows } from '../../src/data/read-rows.ts';

const folder = fileURLToPath(new URL('data/files', import.meta.url));
const expected = JSON.parse(readFileSync(join(folder, 'rows.json'), 'utf8')) as object[];

async function columnsOf(name: string, skip = 0): Promise<object[]> {
  const rows: object[] = [];
  for await (const { columns } of readRows(join(folder, name), skip)) rows.push(columns);
  return rows;
}

describe('files of pyarrow', () => {
  it.each([
    'snappy.parquet', // three row groups, dictionaries
    'zstd-v2.parquet', // pages of version 2 and of about 200 bytes
    'gzip-plain.parquet', // no dictionaries, pages of about 128 bytes
    'brotli.parquet',
    'lz4.parquet',
    'none-delta.parquet', // delta and byte-stream-split encodings
    'rows.jsonl.zst', // two frames, cut within a line
  ])('%s holds the rows', async (name) => {
    expect(await columnsOf(name)).toEqual(expected);
  });

  it.each(['snappy.parquet', 'rows.jsonl.zst'])('%s can be read from any row on', async (name) => {
    for (const skip of [1, 24, 25, 26, 59, 60, 61]) {
      expect(await columnsOf(name, skip)).toEqual(expected.slice(skip));
    }
  });
});
