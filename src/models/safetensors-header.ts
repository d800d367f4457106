/**
 * Header of a safetensors file: 8 bytes with its length (little endian), then JSON that names each tensor's dtype,
 * shape and range of bytes. The data follow without gaps.
 *
 * @source huggingface/safetensors README, "Format".
 */
import { fstatSync } from 'node:fs';
import { CheckpointError } from '../core/errors.ts';
import { formatShape, type Shape, sizeOf } from '../core/shapes.ts';
import { readFully, withFile } from './file-bytes.ts';

/** Bytes of one element of each dtype whose elements are whole bytes. */
const ELEMENT_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

/** Element type of a stored tensor, named as in the file. */
export type StoredDType = keyof typeof ELEMENT_BYTES;

export function elementBytes(dtype: StoredDType): number {
  return ELEMENT_BYTES[dtype];
}

/** Where a tensor lies. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: Shape;
  /** Path of the file that holds it. */
  readonly file: string;
  /** First byte in that file. */
  readonly start: number;
  /** Byte after its last. */
  readonly end: number;
}

/** Longest header that the reference library accepts, in bytes. */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;

/**
 * The tensors of one file by name, in the order of their bytes.
 *
 * @throws CheckpointError when the file is missing or too short, the header is no valid JSON, or a tensor has an unknown
 *   dtype, a shape that does not fit its bytes, or bytes outside the file, shared with another tensor or next to unused
 *   ones. The message names the file, the tensor and the problem.
 */
export function readHeader(file: string): Map<string, StoredTensor> {
  const { bytes, size } = headerBytes(file);
  return parseHeader(bytes, file, LENGTH_BYTES + bytes.length, size);
}

/**
 * `__metadata__` of a file; empty where it has none.
 *
 * @throws CheckpointError as `readHeader`
 */
export function readMetadata(file: string): Readonly<Record<string, string>> {
  readHeader(file);
  const { __metadata__: metadata = {} } = JSON.parse(new TextDecoder().decode(headerBytes(file).bytes)) as {
    __metadata__?: Record<string, string>;
  };
  return metadata;
}

/** The JSON of the header, and the size of the file. */
function headerBytes(file: string): { readonly bytes: Uint8Array; readonly size: number } {
  return withFile(file, (descriptor) => {
    const { size } = fstatSync(descriptor);
    if (size < LENGTH_BYTES)
      throw corrupt(at(file, 0), `at least ${LENGTH_BYTES} bytes`, `a file of ${size}`);
    const prefix = new DataView(new ArrayBuffer(LENGTH_BYTES));
    readFully(descriptor, prefix, 0, file);
    const length = prefix.getBigUint64(0, true);
    if (length > BigInt(Math.min(size - LENGTH_BYTES, MAX_HEADER_BYTES))) {
      throw corrupt(at(file, 0), `a header within the file of ${size} bytes`, `a header length of ${length}`);
    }
    const bytes = new Uint8Array(Number(length));
    readFully(descriptor, bytes, LENGTH_BYTES, file);
    return { bytes, size };
  });
}

/** The header from its JSON bytes; the data fill the file from `dataStart` to `fileSize`. */
function parseHeader(
  bytes: Uint8Array,
  file: string,
  dataStart: number,
  fileSize: number,
): Map<string, StoredTensor> {
  let json: unknown;
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    json = JSON.parse(text);
  } catch (cause) {
    const received = cause instanceof Error ? cause.message : String(cause);
    throw corrupt(at(file, LENGTH_BYTES), 'a header in JSON', received, cause);
  }
  if (!isRecord(json)) throw corrupt(at(file, LENGTH_BYTES), 'a header that is a JSON object', kindOf(json));
  /** Where the header speaks of a name; found only for messages. */
  const placeOf = (name: string): string => {
    const found = text.indexOf(JSON.stringify(name));
    const before = Buffer.byteLength(text.slice(0, Math.max(0, found)));
    return `${file} (tensor ${show(name)}, offset ${LENGTH_BYTES + before})`;
  };
  const tensors: StoredTensor[] = [];
  for (const [name, entry] of Object.entries(json)) {
    if (name === '__metadata__') {
      if (!isRecord(entry)) throw corrupt(placeOf(name), '__metadata__, an object', kindOf(entry));
    } else {
      tensors.push(parseTensor(name, entry, { file, placeOf, dataStart, fileSize }));
    }
  }
  tensors.sort((a, b) => a.start - b.start || a.end - b.end);
  checkCoverage(tensors, file, dataStart, fileSize);
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

interface HeaderContext {
  readonly file: string;
  readonly placeOf: (name: string) => string;
  readonly dataStart: number;
  readonly fileSize: number;
}

function parseTensor(
  name: string,
  entry: unknown,
  { file, placeOf, dataStart, fileSize }: HeaderContext,
): StoredTensor {
  const fail = (expected: string, received: string): CheckpointError =>
    corrupt(placeOf(name), expected, received);
  if (!isRecord(entry)) throw fail('an object with dtype, shape and data_offsets', kindOf(entry));
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(ELEMENT_BYTES, dtype)) {
    throw fail(`a dtype of ${Object.keys(ELEMENT_BYTES).join(', ')}`, show(dtype));
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw fail('a shape of non-negative integers', show(shape));
  }
  const [first, end]: unknown[] = Array.isArray(offsets) && offsets.length === 2 ? offsets : [];
  if (!isSize(first) || !isSize(end) || first > end) {
    throw fail('data_offsets [first, end]', show(offsets));
  }
  if (dataStart + end > fileSize) {
    throw fail(`data within ${fileSize - dataStart} bytes`, `offsets ${first} to ${end}`);
  }
  const bytes = sizeOf(shape) * elementBytes(dtype as StoredDType);
  if (end - first !== bytes) {
    throw fail(`${bytes} bytes for ${dtype} ${formatShape(shape)}`, `${end - first}`);
  }
  return {
    name,
    dtype: dtype as StoredDType,
    shape,
    file,
    start: dataStart + first,
    end: dataStart + end,
  };
}

/** The format demands that every byte of the data belongs to exactly one tensor. */
function checkCoverage(
  tensors: readonly StoredTensor[],
  file: string,
  dataStart: number,
  fileSize: number,
): void {
  let next = dataStart;
  let previous = 'the header';
  for (const { name, start, end } of tensors) {
    if (start !== next) {
      const relation = start < next ? 'overlap' : 'leave a gap after';
      throw corrupt(
        at(file, start),
        `data of ${show(name)} from offset ${next - dataStart} on`,
        `data from ${start - dataStart} on, which ${relation} ${previous}`,
      );
    }
    next = end;
    previous = JSON.stringify(name);
  }
  if (next !== fileSize) {
    throw corrupt(at(file, next), `${next - dataStart} bytes of data`, `${fileSize - dataStart}`);
  }
}

function corrupt(where: string, expected: string, received: string, cause?: unknown): CheckpointError {
  return new CheckpointError({
    where,
    expected,
    received,
    fix: 'The file is damaged or not safetensors; copy or download it again',
    cause,
  });
}

const at = (file: string, offset: number): string => `${file} (offset ${offset})`;

/** A piece of the header, shortened. */
function show(x: unknown): string {
  return (JSON.stringify(x) ?? 'nothing').slice(0, 120);
}

function isSize(x: unknown): x is number {
  return Number.isSafeInteger(x) && (x as number) >= 0;
}

export function isRecord(x: unknown): x is Record<string, unknown> {
  return typeof x === 'object' && x !== null && !Array.isArray(x);
}

/** What a JSON value is, in a word. */
export function kindOf(x: unknown): string {
  return x === null ? 'null' : Array.isArray(x) ? 'an array' : typeof x;
}
