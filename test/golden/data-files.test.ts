/** Parquet and Zstandard files of pyarrow: each gives the rows that were written. Recorded by record-data-files.py. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { openParquet } from '../../src/data/parquet/read-parquet.ts';
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
    'checksums.parquet', // small pages with checksums, two row groups
    'checksums-v2.parquet',
    'rows.jsonl.zst', // two frames, cut within a line
  ])('%s holds the rows', async (name) => {
    expect(await columnsOf(name)).toEqual(expected);
  });

  it.each(['snappy.parquet', 'checksums.parquet', 'rows.jsonl.zst'])(
    '%s can be read from any row on',
    async (name) => {
      for (const skip of [1, 24, 25, 26, 59, 60, 61]) {
        expect(await columnsOf(name, skip)).toEqual(expected.slice(skip));
      }
    },
  );

  it.each(['checksums.parquet', 'checksums-v2.parquet'])(
    '%s shows every changed byte of a page',
    async (name) => {
      const bytes = readFileSync(join(folder, name));
      const footer = bytes.length - 8 - bytes.readUInt32LE(bytes.length - 8);
      let noticed = 0;
      let unread = 0;
      for (let at = 4; at < footer; at += 211) {
        const changed = Uint8Array.from(bytes);
        changed[at]! ^= 1;
        const file = await openParquet('changed.parquet', {
          size: changed.length,
          read: async (start, end) => changed.slice(start, end),
          close: async () => {},
        });
        try {
          const rows: object[] = [];
          for await (const row of file.read()) rows.push(row);
          // Headers hold statistics, which nothing depends on.
          expect(withoutMissing(rows)).toEqual(expected);
          unread++;
        } catch (error) {
          expect((error as Error).message).toMatch(
            /^changed\.parquet, row group \d, column [\w.]+(, page \d+)?, byte \d+: /,
          );
          noticed++;
        }
      }
      expect(noticed).toBeGreaterThan(2 * unread);
    },
  );

  it('names the page of a changed letter, which decodes like any other', async () => {
    const bytes = Uint8Array.from(readFileSync(join(folder, 'checksums.parquet')));
    const at = Buffer.from(bytes).indexOf('Answer 7');
    bytes[at] = 'B'.charCodeAt(0);
    const file = await openParquet('letter.parquet', {
      size: bytes.length,
      read: async (start, end) => bytes.slice(start, end),
      close: async () => {},
    });
    await expect(file.read().next()).rejects.toThrow(
      /letter\.parquet, row group 1, column chosen\.list\.element\.content, page 1, byte \d+: .*received bytes with the checksum [0-9a-f]{8} where their header says [0-9a-f]{8}/,
    );
  });
});

/** As rows are given out: without keys that are missing. */
function withoutMissing(rows: readonly object[]): object[] {
  return JSON.parse(
    JSON.stringify(rows, (_, value: unknown) => (value === null ? undefined : value)),
  ) as object[];
}
