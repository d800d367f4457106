/** Rows of comma- or tab-separated values. */
import { CsvError, parse } from 'csv-parse';
import { DataError } from '../core/errors.ts';
import { type DataFile, readBytes } from './open-data.ts';
import type { RawRow } from './read-json.ts';

/** Longest record, characters. */
const MAX_RECORD = 16 * 2 ** 20;

/**
 * Rows of a CSV file whose first line names the columns. Cells are text; an empty one is a missing column. In columns that
 * TRL defines as something else, cells are read as what they must be: `label` as true or false (also 1 and 0) where it
 * is one of these, lists and messages as the JSON text that they are written as.
 *
 * @param skip rows to leave out at the start
 * @throws DataError naming the file and the row: invalid UTF-8, a quote that does not end, cells without a column
 */
export async function* readCsv(file: DataFile, skip: number): AsyncGenerator<RawRow, void, undefined> {
  let number = 0;
  const place = (): string => `row ${number + 1} or later`;
  const parser = parse({
    bom: true,
    columns: (names: string[]) => checkNames(names, file.path),
    delimiter: file.delimiter,
    max_record_size: MAX_RECORD,
    skip_empty_lines: true,
  });
  const feeding = feed(file, parser, place);
  // What the feeder throws arrives through the parser; this keeps it from being reported twice.
  feeding.catch(() => {});
  try {
    for await (const record of parser) {
      number++;
      if (number > skip)
        yield { place: `row ${number}`, columns: readCells(record as Record<string, string>) };
    }
    await feeding;
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    const { code, lines } = cause as CsvError & { lines?: number };
    throw new DataError({
      where: `${file.path}, row ${number + 1}${lines === undefined ? '' : `, line ${lines}`}`,
      expected: 'CSV with one cell for each column',
      received: `${cause.message} (${code})`,
      fix: 'Quote cells that hold a comma, a quote or a line end, and double the quotes in them',
      cause,
    });
  } finally {
    parser.destroy();
  }
}

async function feed(file: DataFile, parser: ReturnType<typeof parse>, place: () => string): Promise<void> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  try {
    for await (const chunk of readBytes(file, place)) {
      const text = decoder.decode(chunk, { stream: true });
      if (!parser.write(text))
        await new Promise((resolve) => parser.once('drain', resolve).once('close', resolve));
      if (parser.destroyed) return;
    }
    parser.end(decoder.decode());
  } catch (cause) {
    const encoding =
      cause instanceof Error && 'code' in cause && String(cause.code).startsWith('ERR_ENCODING');
    const error = encoding
      ? new DataError({
          where: `${file.path}, ${place()}`,
          expected: 'UTF-8 text',
          received: 'bytes that are not UTF-8',
          fix: 'Save the file as UTF-8',
          cause,
        })
      : (cause as Error);
    parser.destroy(error);
    throw error;
  }
}

function checkNames(names: string[], path: string): string[] {
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  const nameless = names.some((name) => name.trim() === '');
  if (repeated === undefined && !nameless) return names;
  throw new DataError({
    where: `${path}, line 1`,
    expected: 'a name for each column, none twice',
    received: nameless ? names.map((name) => JSON.stringify(name)).join(', ') : `${repeated} twice`,
    fix: 'Name the columns in the first line',
  });
}

const booleans: Readonly<Record<string, boolean>> = { true: true, false: false, 1: true, 0: false };

/** Columns that hold lists; the last four may also be plain text. */
const lists = new Set(['messages', 'conversations', 'tools', 'completions', 'labels']);
const texts = new Set(['prompt', 'completion', 'chosen', 'rejected']);

function readCells(record: Readonly<Record<string, string>>): Record<string, unknown> {
  const cells = Object.entries(record).filter(([, text]) => text !== '');
  return Object.fromEntries(cells.map(([name, text]) => [name, readCell(name, text)]));
}

function readCell(name: string, text: string): unknown {
  if (name === 'label') return booleans[text.toLowerCase()] ?? text;
  const mayBeList = lists.has(name) || (texts.has(name) && /^\s*\[\s*\{/.test(text));
  if (!mayBeList) return text;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : text;
  } catch {
    return text;
  }
}
