import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ByteWriter } from 'hyparquet-writer';
import { writeMetadata } from 'hyparquet-writer/src/metadata.js';
import { serializeTCompactProtocol } from 'hyparquet-writer/src/thrift.js';
import { afterAll, describe, expect, it } from 'vitest';
import { openParquet } from './read-parquet.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-parquet-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Values of a column of lists of 32-bit integers on one page of version 1, at most four, with where rows start. */
interface Page {
  readonly values: readonly number[];
  /** 0 starts a row, 1 goes on. */
  readonly repetition: readonly (0 | 1)[];
}

/** A file of one column `a`, whose pages may end within a row, as older writers leave them. */
function write(name: string, rows: number, pages: readonly Page[]): string {
  const writer = new ByteWriter();
  writer.appendUint32(0x31524150); // PAR1
  const start = writer.offset;
  for (const { values, repetition } of pages) {
    // Repetition levels have one bit, definition levels (all 3) two: one packed group of eight each, behind its length.
    const bits = repetition.reduce((sum: number, level, index) => sum + (level << index), 0);
    const levels = [2, 0, 0, 0, 3, bits, 3, 0, 0, 0, 3, 4 ** values.length - 1, 0];
    const body = Uint8Array.from([...levels, ...new Uint8Array(Int32Array.from(values).buffer)]);
    serializeTCompactProtocol(writer, {
      field_1: 0, // DATA_PAGE
      field_2: body.length,
      field_3: body.length,
      field_5: { field_1: values.length, field_2: 0, field_3: 3, field_4: 3 },
    });
    writer.appendBytes(body);
  }
  const size = BigInt(writer.offset - start);
  writeMetadata(writer, {
    version: 1,
    schema: [
      { name: 'root', num_children: 1 },
      { name: 'a', repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
      { name: 'element', type: 'INT32', repetition_type: 'OPTIONAL' },
    ],
    num_rows: BigInt(rows),
    row_groups: [
      {
        columns: [
          {
            file_offset: 0n,
            meta_data: {
              type: 'INT32',
              encodings: ['PLAIN', 'RLE'],
              path_in_schema: ['a', 'list', 'element'],
              codec: 'UNCOMPRESSED',
              num_values: BigInt(pages.reduce((sum, { values }) => sum + values.length, 0)),
              total_uncompressed_size: size,
              total_compressed_size: size,
              data_page_offset: BigInt(start),
            },
          },
        ],
        total_byte_size: size,
        num_rows: BigInt(rows),
      },
    ],
    metadata_length: 0,
  });
  writer.appendUint32(0x31524150);
  const path = join(folder, name);
  writeFileSync(path, writer.getBytes());
  return path;
}

async function rowsOf(path: string): Promise<unknown[]> {
  const file = await openParquet(path);
  try {
    const rows: unknown[] = [];
    for await (const row of file.read()) rows.push(row.a);
    return rows;
  } finally {
    await file.close();
  }
}

describe('openParquet', () => {
  it('reads rows that go on over several pages, the last one too', async () => {
    const path = write('long.parquet', 2, [
      { values: [1, 2], repetition: [0, 1] },
      { values: [3, 4], repetition: [1, 0] },
      { values: [5, 6], repetition: [1, 1] },
    ]);
    expect(await rowsOf(path)).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
  });

  it('reads a row group of any size page by page', async () => {
    const pages = Array.from({ length: 40_000 }, (_, page) => ({
      values: [page, page + 1, page + 2, page + 3],
      repetition: [0, 1, 1, 1] as const,
    }));
    const bytes = readFileSync(write('large.parquet', pages.length, pages));
    expect(bytes.length).toBeGreaterThan(1.5e6);
    let most = 0;
    let total = 0;
    const file = await openParquet('large.parquet', {
      size: bytes.length,
      async read(start, end) {
        most = Math.max(most, end - start);
        total += end - start;
        return Uint8Array.from(bytes.subarray(start, end));
      },
      close: async () => {},
    });
    const rows = file.read();
    expect((await rows.next()).value).toEqual({ a: [0, 1, 2, 3] });
    expect(total).toBeLessThan(1.2e6);
    let count = 1;
    let last: unknown;
    for await (const row of rows) {
      last = row;
      count++;
    }
    expect(count).toBe(40_000);
    expect(last).toEqual({ a: [39_999, 40_000, 40_001, 40_002] });
    expect(most).toBeLessThan(1.2e6);
  });

  it('names row group, column and byte when pages and rows disagree', async () => {
    const few = write('few.parquet', 3, [{ values: [1], repetition: [0] }]);
    await expect(rowsOf(few)).rejects.toThrow(
      /few\.parquet, row group 1, column a.list.element, byte \d+: .*pages of 1 rows, not 3/,
    );
    const many = write('many.parquet', 1, [{ values: [1, 2], repetition: [0, 0] }]);
    await expect(rowsOf(many)).rejects.toThrow(
      /row group 1, column a.list.element, byte 4: .*pages of 2 rows, not 1/,
    );
  });
});
