import { DataError } from '../core/errors.ts';
import { describeFile } from './open-data.ts';
import { openParquet } from './parquet/read-parquet.ts';
import { readCsv } from './read-csv.ts';
import { type RawRow, readJson } from './read-json.ts';
import { type Row, withoutNulls } from './row.ts';

/**
 * Rows of a file, read as a stream: JSON Lines or one JSON array, CSV or tab-separated values (by the name), Parquet; plain,
 * gzip or Zstandard (by the first bytes). Every column is kept; keys with the value null are left out. The number of a row
 * of JSON Lines is its line number; empty lines are skipped.
 *
 * @param skip rows to leave out at the start. They are not parsed; of Parquet, row groups before are not read
 * @throws DataError naming file and line, row or byte: a missing or empty file, invalid UTF-8 or JSON, a row that is no
 *   object, damaged Parquet
 * @example
 * for await (const row of readRows('train.jsonl.gz')) use(row.columns.prompt);
 */
export async function* readRows(path: string, skip = 0): AsyncGenerator<Row, void, undefined> {
  const file = await describeFile(path);
  let count = 0;
  const rows =
    file.format === 'parquet'
      ? readParquet(path, skip)
      : file.format === 'csv'
        ? readCsv(file, skip)
        : readJson(file, skip);
  for await (const { place, columns } of rows) {
    count++;
    const where = `${path}, ${place}`;
    yield { where, columns: withoutNulls(columns, where) };
  }
  if (count === 0 && skip === 0) {
    throw new DataError({
      where: path,
      expected: 'at least one row',
      received: 'an empty data set',
      fix: 'Write one JSON object per line',
    });
  }
}

async function* readParquet(path: string, skip: number): AsyncGenerator<RawRow, void, undefined> {
  const file = await openParquet(path);
  try {
    let number = skip;
    for await (const columns of file.read(skip)) {
      number++;
      yield { place: `row ${number}`, columns };
    }
  } finally {
    await file.close();
  }
}
