/** Rows to files. Every file is written under another name and moved when it is complete. */
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { DataError } from '../core/errors.ts';
import { writeParquet } from './parquet/write-parquet.ts';
import type { Row } from './row.ts';
import type { Stream } from './stream.ts';

/** Endings of files that can be written. */
export const writableEndings = ['.jsonl', '.jsonl.gz', '.parquet'] as const;

/**
 * Writes rows to a file of the format that its ending names: JSON Lines, the same with gzip, or Parquet (see `writeParquet`; it reads
 * the rows twice). Folders on the way are made.
 *
 * @returns how many rows were written
 * @throws DataError for another ending, no rows, bytes in JSON, or values that Parquet cannot hold; nothing is left behind then
 */
export async function writeRows(path: string, rows: Stream<Row>): Promise<number> {
  checkEnding(path);
  await mkdir(dirname(path), { recursive: true });
  const partial = join(dirname(path), `.${basename(path)}.${process.pid}.partial`);
  try {
    const count = path.endsWith('.parquet')
      ? await writeParquet(partial, rows)
      : await writeLines(partial, path, rows);
    if (count === 0) {
      throw new DataError({ where: path, expected: 'at least one row to write', received: 'none' });
    }
    await rename(partial, path);
    return count;
  } finally {
    await rm(partial, { force: true });
  }
}

/** @throws DataError when the ending of a file names no format that is written */
export function checkEnding(path: string): void {
  if (writableEndings.some((ending) => path.endsWith(ending))) return;
  throw new DataError({
    where: path,
    expected: `a file name that ends with ${writableEndings.join(', ')}`,
    received: basename(path),
    fix: 'Change the ending',
  });
}

async function writeLines(partial: string, path: string, rows: Stream<Row>): Promise<number> {
  let count = 0;
  async function* lines(): AsyncGenerator<string> {
    for await (const { value } of rows.from()) {
      count++;
      yield `${JSON.stringify(value.columns, (key, cell: unknown) => checkCell(value, key, cell))}\n`;
    }
  }
  const file = createWriteStream(partial);
  if (path.endsWith('.gz')) await pipeline(Readable.from(lines()), createGzip(), file);
  else await pipeline(Readable.from(lines()), file);
  return count;
}

function checkCell(row: Row, name: string, cell: unknown): unknown {
  if (!ArrayBuffer.isView(cell)) return cell;
  throw new DataError({
    where: `${row.where}, \`${name}\``,
    expected: 'values that JSON can hold',
    received: `${cell.byteLength} bytes that are no text`,
    fix: 'Write Parquet, or leave the column out with --drop',
  });
}
