/** Encoded rows kept in a file: what a row, a tokenizer with its template and the options of the encoder determine. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Tokenizer } from '../tokenizer/index.ts';
import { contentHash } from './content-hash.ts';
import type { Row } from './row.ts';

export interface EncodeCache {
  /** What `encode` gives for the row, from the file where it is there. @throws what `encode` throws; that is not kept */
  encode<E>(row: Row, encode: (row: Row) => E): E;
  /** Writes what is new. */
  save(): void;
}

export interface EncodeCacheOptions {
  /** Made when there is something to write. */
  readonly folder: string;
  /** Its files, chat templates among them, are part of the key. */
  readonly tokenizer: Tokenizer;
  /** All else that determines the result: kind of example, maximum length, truncation, another template … */
  readonly encoding: Readonly<Record<string, unknown>>;
}

/** Of the file, and of what encoders make of a row: raise it with either. */
const VERSION = 1;

/** Rows whose kept result is compared with a new one before any is believed. */
const CHECKED = 3;

/** An entry before its arrays are cut from the file: JSON with `{$i32: [start, length]}` and `{$u8: …}` in their place. */
type Stored = string;

interface Loaded {
  readonly entries: Map<string, Stored>;
  readonly ints: Int32Array;
  readonly bytes: Uint8Array;
}

/**
 * Opens the cache of a tokenizer and an encoding. Entries are found by the content of a row, wherever it stands and in whatever
 * data set. The first three that are found are encoded again and compared: when one differs, or the file is damaged, everything
 * in it is forgotten.
 *
 * Price: the file in memory while it is open, about 5 bytes per token and 200 per row.
 */
export function openEncodeCache({ folder, tokenizer, encoding }: EncodeCacheOptions): EncodeCache {
  const key = contentHash({
    version: VERSION,
    tokenizer: new Map(tokenizer.files),
    kind: tokenizer.kind,
    encoding,
  });
  const file = join(folder, `encoded-${key.slice(0, 32)}.bin`);
  let kept = existsSync(file) ? readCache(file) : undefined;
  const fresh = new Map<string, unknown>();
  let checked = 0;

  return {
    encode(row, encode) {
      const id = contentHash(row.columns).slice(0, 32);
      const stored = kept?.entries.get(id);
      if (kept === undefined || stored === undefined) {
        const encoded = encode(row);
        fresh.set(id, encoded);
        return encoded;
      }
      const found = restore(stored, kept, row.where) as ReturnType<typeof encode>;
      if (checked < CHECKED) {
        checked++;
        const encoded = encode(row);
        if (contentHash(encoded) !== contentHash(found)) {
          kept = undefined;
          fresh.set(id, encoded);
          return encoded;
        }
      }
      return found;
    },
    save() {
      if (fresh.size === 0) return;
      mkdirSync(folder, { recursive: true });
      const all = new Map<string, unknown>();
      for (const [id, stored] of kept?.entries ?? []) all.set(id, restore(stored, kept!, ''));
      for (const [id, encoded] of fresh) all.set(id, encoded);
      const partial = `${file}.${process.pid}.partial`;
      writeFileSync(partial, writeCache(all));
      renameSync(partial, file);
    },
  };
}

/** The cache in a folder; none without a folder. */
export function encodeCache(
  folder: string | undefined,
  tokenizer: Tokenizer,
  encoding: EncodeCacheOptions['encoding'],
): EncodeCache | undefined {
  return folder === undefined ? undefined : openEncodeCache({ folder, tokenizer, encoding });
}

/** Length of the head, head (JSON), zeros to a multiple of 4, all 32-bit arrays, all byte arrays. */
function writeCache(entries: ReadonlyMap<string, unknown>): Uint8Array {
  const ints: Int32Array[] = [];
  const bytes: Uint8Array[] = [];
  const sizes = { ints: 0, bytes: 0 };
  const replace = (key: string, value: unknown): unknown => {
    // Where a row stands is no part of it.
    if (key === 'where') return '';
    if (value instanceof Int32Array) {
      ints.push(value);
      sizes.ints += value.length;
      return { $i32: [sizes.ints - value.length, value.length] };
    }
    if (value instanceof Uint8Array) {
      bytes.push(value);
      sizes.bytes += value.length;
      return { $u8: [sizes.bytes - value.length, value.length] };
    }
    return value;
  };
  const list = [...entries].map(([id, encoded]) => [id, JSON.stringify(encoded, replace)]);
  const body = new Uint8Array(4 * sizes.ints + sizes.bytes);
  let at = 0;
  for (const array of [...ints, ...bytes]) {
    body.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
    at += array.byteLength;
  }
  const head = new TextEncoder().encode(
    JSON.stringify({ version: VERSION, ints: sizes.ints, hash: hashOf(body, list), list }),
  );
  const start = alignUp(4 + head.length);
  const out = new Uint8Array(start + body.length);
  new DataView(out.buffer).setUint32(0, head.length, true);
  out.set(head, 4);
  out.set(body, start);
  return out;
}

/** undefined for a file that is damaged or of another version. */
function readCache(file: string): Loaded | undefined {
  // Memory of its own, aligned for the 32-bit arrays.
  const all = Uint8Array.from(readFileSync(file));
  if (all.length < 4) return undefined;
  const length = new DataView(all.buffer).getUint32(0, true);
  if (4 + length > all.length) return undefined;
  let head: { version?: number; ints?: number; hash?: string; list?: [string, string][] };
  try {
    head = JSON.parse(new TextDecoder().decode(all.subarray(4, 4 + length))) as typeof head;
  } catch {
    return undefined;
  }
  const { version, ints = 0, hash, list = [] } = head;
  const body = all.subarray(alignUp(4 + length));
  if (version !== VERSION || hash !== hashOf(body, list)) return undefined;
  return {
    entries: new Map(list),
    ints: new Int32Array(body.buffer, body.byteOffset, ints),
    bytes: body.subarray(4 * ints),
  };
}

const alignUp = (size: number): number => Math.ceil(size / 4) * 4;

function hashOf(body: Uint8Array, list: unknown): string {
  return createHash('sha256').update(JSON.stringify(list)).update(body).digest('hex');
}

function restore(stored: Stored, { ints, bytes }: Loaded, where: string): unknown {
  return JSON.parse(stored, (key, value: unknown) => {
    if (key === 'where') return where;
    if (typeof value !== 'object' || value === null) return value;
    const { $i32, $u8 } = value as { $i32?: [number, number]; $u8?: [number, number] };
    if ($i32 !== undefined) return ints.slice($i32[0], $i32[0] + $i32[1]);
    return $u8 === undefined ? value : bytes.slice($u8[0], $u8[0] + $u8[1]);
  });
}
