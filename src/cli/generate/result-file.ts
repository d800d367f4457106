/**
 * A file of results that are written as they come and can be continued after an interruption.
 *
 * Until it is complete it is `<path>.partial`: a first line that says what run it belongs to, then the results of each prompt
 * in the order in which they ended. When all are there they are put into the order of the prompts and moved to `<path>`.
 */
import { existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isRecord } from '../../core/config-errors.ts';
import { DataError } from '../../core/errors.ts';

/** One line of the file; `index` is that of the prompt. */
export interface ResultRecord {
  readonly index: number;
  readonly [name: string]: unknown;
}

export interface ResultFileOptions {
  readonly path: string;
  /** What decides the results, as plain values: an unfinished file of other ones is not continued. */
  readonly run: Readonly<Record<string, unknown>>;
  /** Prompts in all, and lines of each. */
  readonly prompts: number;
  readonly lines: number;
  readonly resume: boolean;
  /** Replace finished results. */
  readonly overwrite: boolean;
}

export interface ResultFile {
  /** Prompts whose results are there. */
  readonly done: ReadonlySet<number>;
  /** Adds the lines of one prompt, in one write. */
  add(records: readonly ResultRecord[]): Promise<void>;
  /** Puts everything in order under the final name. */
  finish(): Promise<void>;
  /** Leaves what is there for later. */
  close(): Promise<void>;
  /** After a failure: as `close`, but leaves nothing where there is nothing to be continued. */
  abandon(): Promise<void>;
}

/** Where the results of a prompt lie. */
interface Place {
  readonly at: number;
  readonly length: number;
}

/** Name of a file in the making. */
export const partialName = (path: string): string => `${path}.partial`;

/**
 * Opens a file to be written, or an unfinished one to be continued: whole results are kept, a last one that was cut off is
 * removed.
 *
 * @throws DataError when there is an unfinished file and `resume` is not set, or one of another run, or a finished one that
 *   may not be replaced
 */
export async function openResults(options: ResultFileOptions): Promise<ResultFile> {
  const { path, run, prompts, lines, resume, overwrite } = options;
  const partial = partialName(path);
  const exists = existsSync(partial);
  if (exists && !resume) {
    throw new DataError({
      where: partial,
      expected: 'no unfinished results, or --resume',
      received: 'the results of a run that was interrupted',
      fix: 'Add --resume to continue it, or delete the file',
    });
  }
  if (existsSync(path) && !overwrite) {
    throw new DataError({
      where: path,
      expected: 'a new file',
      received: 'one that exists',
      fix: 'Name another --output, or pass --overwrite to replace it',
    });
  }
  await mkdir(dirname(path), { recursive: true });
  const file = await open(partial, exists ? 'r+' : 'w+');
  const places = new Map<number, Place>();
  let end = 0;
  try {
    if (exists) end = await readPartial(file, options, places);
    if (end === 0) {
      const head = Buffer.from(`${JSON.stringify({ run, prompts, lines })}\n`);
      await file.write(head, 0, head.length, 0);
      end = head.length;
    }
    await file.truncate(end);
  } catch (error) {
    await file.close();
    throw error;
  }
  const done = new Set(places.keys());
  return {
    done,
    async add(records) {
      const { index } = records[0]!;
      const bytes = Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join(''));
      await file.write(bytes, 0, bytes.length, end);
      places.set(index, { at: end, length: bytes.length });
      done.add(index);
      end += bytes.length;
    },
    async finish() {
      const ordered = `${path}.${process.pid}.ordered`;
      try {
        const target = await open(ordered, 'w');
        try {
          for (const [, { at, length }] of [...places].sort(([a], [b]) => a - b)) {
            const { buffer } = await file.read(Buffer.alloc(length), 0, length, at);
            await target.write(buffer);
          }
          await target.sync();
        } finally {
          await target.close();
        }
        await rename(ordered, path);
      } finally {
        await rm(ordered, { force: true });
      }
      await file.close();
      await rm(partial);
    },
    close: () => file.close(),
    async abandon() {
      await file.close();
      if (!exists && places.size === 0) await rm(partial, { force: true });
    },
  };
}

/** Fills `places` with what is whole, and returns where it ends: 0 when not even the head is. */
async function readPartial(
  file: FileHandle,
  { path, run, prompts, lines }: ResultFileOptions,
  places: Map<number, Place>,
): Promise<number> {
  const where = partialName(path);
  let end = 0;
  let number = 0;
  let group: { index: number; at: number; count: number } | undefined;
  let at = 0;
  for await (const { text, length } of wholeLines(file)) {
    number++;
    const record = parseLine(text, `${where}, line ${number}`);
    if (number === 1) {
      checkRun(record, { run, prompts, lines }, where);
      end = length;
    } else {
      const { index } = record as { index?: unknown };
      if (
        typeof index !== 'number' ||
        !Number.isInteger(index) ||
        index < 0 ||
        index >= prompts ||
        places.has(index)
      )
        throw foreignLine(`${where}, line ${number}`, text);
      if (group === undefined) group = { index, at, count: 0 };
      if (group.index !== index) throw foreignLine(`${where}, line ${number}`, text);
      group.count++;
      if (group.count === lines) {
        places.set(index, { at: group.at, length: at + length - group.at });
        end = at + length;
        group = undefined;
      }
    }
    at += length;
  }
  return end;
}

/** Lines that end, with their length in bytes, end included: what follows the last end was cut off. */
async function* wholeLines(file: FileHandle): AsyncGenerator<{ text: string; length: number }> {
  const size = 1 << 16;
  let rest = Buffer.alloc(0);
  for (let at = 0; ; ) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(size), 0, size, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      yield { text: rest.subarray(0, end).toString('utf8'), length: end + 1 };
      rest = rest.subarray(end + 1);
    }
  }
}

function parseLine(text: string, where: string): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(text);
    if (isRecord(json)) return json;
  } catch {
    // Falls through to the error that names the line.
  }
  throw foreignLine(where, text);
}

const foreignLine = (where: string, text: string): DataError =>
  new DataError({
    where,
    expected: 'a line that heed generate wrote',
    received: text.length > 60 ? `${text.slice(0, 60)}…` : text,
    fix: 'Delete the file and start again',
  });

/** Refuses to continue what other settings began: the file would be neither. */
function checkRun(head: Record<string, unknown>, wanted: Record<string, unknown>, where: string): void {
  const flat = ({ run, ...rest }: Record<string, unknown>): Record<string, unknown> => ({
    ...rest,
    ...(isRecord(run) ? run : {}),
  });
  const [then, now] = [flat(head), flat(JSON.parse(JSON.stringify(wanted)) as Record<string, unknown>)];
  for (const name of new Set([...Object.keys(then), ...Object.keys(now)])) {
    const [before, after] = [then[name], now[name]].map((value) => JSON.stringify(value) ?? 'nothing');
    if (before === after) continue;
    throw new DataError({
      where,
      expected: `the ${name} of the run that wrote it, ${before}`,
      received: after!,
      fix: 'Use the same settings, or delete the file and start again',
    });
  }
}
