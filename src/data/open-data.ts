/** What lies in a data file, and its bytes. */
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import { DataError } from '../core/errors.ts';

export type Compression = 'none' | 'gzip' | 'zstd';
export type DataFormat = 'json' | 'csv' | 'parquet';

/** Endings of data files, without `.gz` and `.zst`. */
export const dataEndings = ['.jsonl', '.ndjson', '.json', '.csv', '.tsv', '.parquet'] as const;

export interface DataFile {
  readonly path: string;
  readonly format: DataFormat;
  readonly compression: Compression;
  /** Between cells of CSV. */
  readonly delimiter: string;
}

/**
 * Looks at the first bytes of a file: compression and Parquet are told by them, CSV and tab-separated values by the name.
 * All else is read as JSON.
 *
 * @throws DataError when there is no such file
 */
export async function describeFile(path: string): Promise<DataFile> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new DataError({
      where: 'data',
      expected: 'a file or folder of rows, or the name of a data set on the hub',
      received: `${path}, which does not exist`,
      fix: 'Check the path; relative paths start at the working directory',
      cause,
    });
  });
  if (!found.isFile()) {
    throw new DataError({
      where: 'data',
      expected: 'a file of rows',
      received: `${path}, which is ${found.isDirectory() ? 'a folder' : 'no ordinary file'}`,
    });
  }
  const head = new Uint8Array(4);
  const file = await open(path);
  try {
    await file.read(head, 0, 4, 0);
  } finally {
    await file.close();
  }
  const compression = compressionOf(head);
  const name = path.toLowerCase().replace(/\.(gz|zst)$/, '');
  const parquet = new TextDecoder().decode(head) === 'PAR1' || name.endsWith('.parquet');
  return {
    path,
    format: parquet ? 'parquet' : /\.[ct]sv$/.test(name) ? 'csv' : 'json',
    compression,
    delimiter: name.endsWith('.tsv') ? '\t' : ',',
  };
}

function compressionOf(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  return head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd ? 'zstd' : 'none';
}

/** Where a stream of bytes broke, in words of its reader: `line 7 or later`. */
export type Place = () => string;

/**
 * The bytes of a file, decompressed piece by piece.
 *
 * @throws DataError naming file and place when the compressed data is damaged
 */
export async function* readBytes(
  { path, compression }: Pick<DataFile, 'path' | 'compression'>,
  place: Place,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    const raw = createReadStream(path);
    if (compression === 'zstd') yield* inflateZstd(path, raw);
    // A pipeline passes errors on and closes the file when the reader stops early.
    else
      yield* compression === 'gzip' ? (pipeline(raw, createGunzip(), () => {}) as unknown as Readable) : raw;
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : '';
    // zlib names its errors, fzstd numbers them.
    if (!(typeof code === 'number' || String(code).startsWith('Z_'))) throw cause;
    const kind = compression === 'zstd' ? 'Zstandard' : 'gzip';
    throw new DataError({
      where: `${path}, ${place()}`,
      expected: `a complete ${kind} file`,
      received: (cause as Error).message,
      fix: 'Compress or download the file again',
      cause,
    });
  }
}

/** What the zstd tool takes without `--long`: 128 MiB. */
const MAX_WINDOW = 2 ** 27;

/** The memory that a Zstandard frame asks for. @source RFC 8878, section 3.1.1.1.2 */
function zstdWindow(head: Uint8Array): number {
  const flags = head[4] ?? 0;
  // A frame of one segment has its content's size for a window; fzstd reads 32 bits of it, as here.
  if ((flags & 32) !== 0) {
    const at = 5 + [0, 1, 2, 4][flags & 3]!;
    const width = flags >> 6 === 0 ? 1 : Math.min(4, 1 << (flags >> 6));
    return head.subarray(at, at + width).reduceRight((size, byte) => 256 * size + byte, 0);
  }
  const base = 2 ** (10 + ((head[5] ?? 0) >> 3));
  return base + (base / 8) * ((head[5] ?? 0) & 7);
}

async function* inflateZstd(path: string, raw: Readable): AsyncGenerator<Uint8Array, void, undefined> {
  let ready: Uint8Array[] = [];
  let first = true;
  const inflate = new Decompress((piece) => ready.push(piece));
  const take = (): Uint8Array[] => {
    const pieces = ready;
    ready = [];
    return pieces;
  };
  for await (const chunk of raw) {
    const window = first ? zstdWindow(chunk as Uint8Array) : 0;
    if (window > MAX_WINDOW) {
      throw new DataError({
        where: `${path}, byte 4`,
        expected: `a Zstandard frame whose window is at most ${MAX_WINDOW / 2 ** 20} MiB`,
        received: `${Math.round(window / 2 ** 20)} MiB`,
        fix: 'Compress it again without --long, or in pieces',
      });
    }
    first = false;
    inflate.push(chunk as Uint8Array);
    yield* take();
  }
  inflate.push(new Uint8Array(0), true);
  yield* take();
}
