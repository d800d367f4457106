import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { DataError } from '../core/errors.ts';
import { type Row, withoutNulls } from './row.ts';

/**
 * Rows of a JSON Lines file, plain or gzip (by its first bytes, not its name), read as a stream. Every column is kept;
 * keys with the value null are left out. The number of a row is its line number; empty lines are skipped.
 *
 * @throws DataError naming file and line: a missing or empty file, invalid UTF-8 or JSON, a line that is no object
 * @example
 * for await (const row of readRows('train.jsonl.gz')) use(row.columns.prompt);
 */
export async function* readRows(path: string): AsyncGenerator<Row, void, undefined> {
  const gzip = await sniff(path);
  let number = 0;
  let count = 0;
  for await (const line of readLines(path, gzip, () => number + 1)) {
    number++;
    if (line.trim() === '') continue;
    count++;
    yield { where: `${path}, row ${number}`, columns: parseLine(line, `${path}, line ${number}`) };
  }
  if (count === 0) {
    throw new DataError({
      where: path,
      expected: 'at least one row',
      received: 'an empty data set',
      fix: 'Write one JSON object per line',
    });
  }
}

function parseLine(line: string, where: string): Readonly<Record<string, unknown>> {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DataError({
      where,
      expected: 'valid JSON',
      received: `${excerpt(line)} (${reason})`,
      fix: line.trim().startsWith('[')
        ? 'Write one object per line instead of one array'
        : 'Write each row as one JSON object on one line',
      cause,
    });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new DataError({
      where,
      expected: 'a JSON object with named columns',
      received: excerpt(line),
      fix: 'Write each row as {"column": value, …}',
    });
  }
  return withoutNulls(json as Record<string, unknown>);
}

const excerpt = (line: string): string => (line.length > 60 ? `${line.slice(0, 60)}…` : line);

/** Whether the file is gzip. Refuses what is no JSON Lines at all. */
async function sniff(path: string): Promise<boolean> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new DataError({
      where: 'data',
      expected: 'a JSON Lines file',
      received: `${path}, which does not exist`,
      fix: 'Check the path; relative paths start at the working directory',
      cause,
    });
  });
  if (found.isDirectory()) {
    throw new DataError({
      where: 'data',
      expected: 'a JSON Lines file',
      received: `${path}, a folder`,
      fix: 'Pass the path of one .jsonl or .jsonl.gz file',
    });
  }
  const file = await open(path);
  try {
    const head = new Uint8Array(4);
    await file.read(head, 0, 4, 0);
    if (new TextDecoder().decode(head) === 'PAR1') {
      throw new DataError({
        where: path,
        expected: 'JSON Lines',
        received: 'a Parquet file',
        fix: 'Convert it to .jsonl first',
      });
    }
    return head[0] === 0x1f && head[1] === 0x8b;
  } finally {
    await file.close();
  }
}

/**
 * Lines without their ends, `\n` or `\r\n`. (node:readline would also end a line at U+2028, which JSON strings may hold.)
 */
async function* readLines(path: string, gzip: boolean, lineNumber: () => number): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  try {
    for await (const chunk of openStream(path, gzip)) {
      const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n');
      rest = lines.pop()!;
      for (const line of lines) yield line;
    }
    rest += decoder.decode();
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const damaged = code.startsWith('Z_');
    const encoding = code === 'ERR_ENCODING_INVALID_ENCODED_DATA';
    if (!damaged && !encoding) throw cause;
    throw new DataError({
      where: `${path}, line ${lineNumber()} or later`,
      expected: damaged ? 'a complete gzip file' : 'UTF-8 text',
      received: damaged ? (cause as Error).message : 'bytes that are not UTF-8',
      fix: damaged ? 'Compress or download the file again' : 'Save the file as UTF-8',
      cause,
    });
  }
  if (rest !== '') yield rest;
}

function openStream(path: string, gzip: boolean): Readable {
  const raw = createReadStream(path);
  // A pipeline passes errors on and closes the file when the reader stops early.
  return gzip ? (pipeline(raw, createGunzip(), () => {}) as unknown as Readable) : raw;
}
