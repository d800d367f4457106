/** Rows of JSON: one object a line, or one array of objects. */
import { DataError } from '../core/errors.ts';
import { type DataFile, readBytes } from './open-data.ts';

export type Columns = Readonly<Record<string, unknown>>;

/** A row before it has a name: what an error calls it, and its columns. */
export interface RawRow {
  readonly place: string;
  readonly columns: Columns;
}

/** Longest line or array, bytes: what still fits into a string. */
const MAX_TEXT = 256 * 2 ** 20;

/**
 * Rows of a JSON file. Lines without an object are skipped when empty. A file that begins with `[` is one array, which is read
 * as a whole.
 *
 * @param skip rows to leave out at the start; they are counted, not parsed
 * @throws DataError naming the file and the line
 */
export async function* readJson(file: DataFile, skip: number): AsyncGenerator<RawRow, void, undefined> {
  let number = 0;
  let count = 0;
  const lines = readLines(file, () => `line ${number + 1} or later`);
  for await (const line of lines) {
    number++;
    if (line.trim() === '') continue;
    if (count === 0 && line.trimStart().startsWith('[')) {
      yield* readArray(file, line, lines, skip);
      return;
    }
    if (count++ < skip) continue;
    const where = `${file.path}, line ${number}`;
    yield { place: `row ${number}`, columns: asColumns(parse(line, where), where) };
  }
}

async function* readArray(
  { path }: DataFile,
  first: string,
  lines: AsyncGenerator<string>,
  skip: number,
): AsyncGenerator<RawRow, void, undefined> {
  const parts = [first];
  let size = first.length;
  for await (const line of lines) {
    parts.push(line);
    size += line.length + 1;
    if (size > MAX_TEXT) throw tooLong(path, 'an array');
  }
  const json = parse(parts.join('\n'), path);
  if (!Array.isArray(json)) throw notAnObject(path, first);
  for (let index = skip; index < json.length; index++) {
    yield { place: `row ${index + 1}`, columns: asColumns(json[index], `${path}, row ${index + 1}`) };
  }
}

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DataError({
      where,
      expected: 'valid JSON',
      received: `${excerpt(text)} (${reason})`,
      fix: 'Write each row as one JSON object on one line, or all rows as one array',
      cause,
    });
  }
}

function asColumns(json: unknown, where: string): Columns {
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Columns;
  throw notAnObject(where, JSON.stringify(json));
}

const notAnObject = (where: string, text: string): DataError =>
  new DataError({
    where,
    expected: 'a JSON object with named columns',
    received: excerpt(text),
    fix: 'Write each row as {"column": value, …}',
  });

const tooLong = (where: string, what: string): DataError =>
  new DataError({
    where,
    expected: `${what} of at most ${MAX_TEXT / 2 ** 20} MiB`,
    received: 'a longer one',
    fix: 'Write one row per line',
  });

const excerpt = (line: string): string => (line.length > 60 ? `${line.slice(0, 60)}…` : line);

/**
 * Lines without their ends, `\n` or `\r\n`. (node:readline would also end a line at U+2028, which JSON strings may hold.)
 * Each byte is looked at once, however long the line.
 */
export async function* readLines(file: DataFile, place: () => string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let parts: string[] = [];
  let size = 0;
  try {
    for await (const chunk of readBytes(file, place)) {
      const text = decoder.decode(chunk, { stream: true });
      let start = 0;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
        const piece = text.slice(start, end);
        yield parts.length === 0 ? piece : parts.join('') + piece;
        parts = [];
        size = 0;
        start = end + 1;
      }
      if (start < text.length) parts.push(text.slice(start));
      size += text.length - start;
      if (size > MAX_TEXT) throw tooLong(`${file.path}, ${place()}`, 'a line');
    }
    parts.push(decoder.decode());
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : '';
    if (code !== 'ERR_ENCODING_INVALID_ENCODED_DATA') throw cause;
    throw new DataError({
      where: `${file.path}, ${place()}`,
      expected: 'UTF-8 text',
      received: 'bytes that are not UTF-8',
      fix: 'Save the file as UTF-8',
      cause,
    });
  }
  const rest = parts.join('');
  if (rest !== '') yield rest;
}
