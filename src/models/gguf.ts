/**
 * Reader of GGUF files, versions 2 and 3: metadata, and tensors that are read one at a time.
 *
 * A header is not believed: every count is compared with the bytes that are left before anything is allocated for it.
 *
 * @source ggml-org/ggml `docs/gguf.md`
 */
import { fstatSync } from 'node:fs';
import { CheckpointError } from '../core/errors.ts';
import { formatShape, type Shape, sizeOf } from '../core/shapes.ts';
import { readFully, withFile } from './file-bytes.ts';
import { GGUF_TYPES, type GgufType, OTHER_GGUF_TYPES } from './gguf-blocks.ts';

type NumberArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

/** A value of the metadata. 64-bit integers become numbers, rounded above 2^53; lists of numbers stay packed. */
export type GgufValue = number | boolean | string | NumberArray | readonly GgufValue[];

export interface GgufTensor {
  readonly name: string;
  readonly type: GgufType;
  /** Slowest dimension first, as everywhere in heed: the reverse of the file's order. */
  readonly shape: Shape;
  readonly file: string;
  /** First byte in the file. */
  readonly start: number;
  /** Byte after its last. */
  readonly end: number;
}

export interface GgufFile {
  readonly file: string;
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** By name, in the order of the header. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

const MAGIC = 0x46554747; // "GGUF", little endian
const MAX_DIMENSIONS = 4;
/** Lists within lists; the format sets no limit, and no known file has any. */
const MAX_DEPTH = 4;
/** Name or key, in bytes: the limit of the format. */
const MAX_NAME_BYTES = 65_535;
/** Bytes read at a time. */
const WINDOW_BYTES = 1 << 18;

/** Numbers by type number of the metadata: bytes, and the array that holds a list of them. */
const NUMBERS = {
  0: { bytes: 1, array: Uint8Array, get: 'getUint8' },
  1: { bytes: 1, array: Int8Array, get: 'getInt8' },
  2: { bytes: 2, array: Uint16Array, get: 'getUint16' },
  3: { bytes: 2, array: Int16Array, get: 'getInt16' },
  4: { bytes: 4, array: Uint32Array, get: 'getUint32' },
  5: { bytes: 4, array: Int32Array, get: 'getInt32' },
  6: { bytes: 4, array: Float32Array, get: 'getFloat32' },
  12: { bytes: 8, array: Float64Array, get: 'getFloat64' },
} as const;
const BOOL = 7;
const STRING = 8;
const LIST = 9;
const UINT64 = 10;
const INT64 = 11;

/** Fewest bytes that a value of a type takes. */
const LEAST_BYTES: Readonly<Record<number, number>> = {
  ...{ 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 12: 8 },
  ...{ [BOOL]: 1, [STRING]: 8, [LIST]: 12, [UINT64]: 8, [INT64]: 8 },
};

/**
 * Reads the header of a file. The tensors' numbers stay where they are: see `readGgufTensor`.
 *
 * @throws CheckpointError when the file is no GGUF, is damaged, or holds tensors of a type that cannot be read; the message
 *   names the file, the offset and the problem
 */
export function readGguf(file: string): GgufFile {
  return withFile(file, (descriptor) => {
    const cursor = new Cursor(file, descriptor, fstatSync(descriptor).size);
    if (cursor.size < 24) throw cursor.corrupt('at least 24 bytes', `a file of ${cursor.size}`);
    const magic = cursor.uint32();
    if (magic !== MAGIC) throw cursor.corrupt('the letters GGUF', `0x${magic.toString(16)}`, 0);
    const version = cursor.uint32();
    if (version !== 2 && version !== 3) {
      const received = (version & 0xffff) === 0 ? 'a big-endian file' : `version ${version}`;
      throw cursor.corrupt('GGUF version 2 or 3, little endian', received, 4);
    }
    const tensorCount = cursor.count('tensors', 24);
    const entryCount = cursor.count('metadata entries', 13);
    const metadata = new Map<string, GgufValue>();
    for (let entry = 0; entry < entryCount; entry++) {
      const at = cursor.position;
      const key = cursor.name();
      if (metadata.has(key)) throw cursor.corrupt('keys that differ', `${show(key)} twice`, at);
      metadata.set(key, readValue(cursor, cursor.uint32(), 0));
    }
    const alignment = readAlignment(cursor, metadata.get('general.alignment'));
    const infos = Array.from({ length: tensorCount }, () => readTensorInfo(cursor));
    const dataStart = roundUp(cursor.position, alignment);
    return { file, version, metadata, tensors: placeTensors(cursor, infos, dataStart, alignment) };
  });
}

function readValue(cursor: Cursor, type: number, depth: number): GgufValue {
  const number = NUMBERS[type as keyof typeof NUMBERS];
  if (number !== undefined) return cursor.view(number.bytes)[number.get](0, true);
  switch (type) {
    case BOOL:
      return cursor.view(1).getUint8(0) !== 0;
    case STRING:
      return cursor.text(cursor.count('bytes', 1));
    case UINT64:
      return Number(cursor.view(8).getBigUint64(0, true));
    case INT64:
      return Number(cursor.view(8).getBigInt64(0, true));
    case LIST:
      return readList(cursor, depth + 1);
    default:
      throw cursor.corrupt('a value type of 0 to 12', String(type), cursor.position - 4);
  }
}

function readList(cursor: Cursor, depth: number): GgufValue {
  if (depth > MAX_DEPTH) throw cursor.corrupt(`lists nested ${MAX_DEPTH} deep at most`, 'a deeper one');
  const type = cursor.uint32();
  const least = LEAST_BYTES[type];
  if (least === undefined) throw cursor.corrupt('a value type of 0 to 12', String(type), cursor.position - 4);
  const count = cursor.count('elements', least);
  const number = NUMBERS[type as keyof typeof NUMBERS];
  if (number !== undefined) {
    const list = new number.array(count);
    cursor.fill(list);
    return list;
  }
  if (type === BOOL) {
    const list = new Uint8Array(count);
    cursor.fill(list);
    return list;
  }
  const list: GgufValue[] = [];
  for (let index = 0; index < count; index++) list.push(readValue(cursor, type, depth));
  return list;
}

function readAlignment(cursor: Cursor, value: GgufValue | undefined): number {
  if (value === undefined) return 32;
  if (typeof value === 'number' && value >= 1 && value <= 1 << 20 && (value & (value - 1)) === 0)
    return value;
  throw cursor.corrupt('general.alignment, a power of 2', String(value));
}

interface TensorInfo {
  readonly name: string;
  readonly type: GgufType;
  readonly shape: Shape;
  readonly bytes: number;
  readonly offset: number;
  /** Where the header describes it. */
  readonly at: number;
}

function readTensorInfo(cursor: Cursor): TensorInfo {
  const at = cursor.position;
  const name = cursor.name();
  const tensor = `tensor ${show(name)}`;
  const rank = cursor.uint32();
  if (rank > MAX_DIMENSIONS)
    throw cursor.corrupt(`${tensor} of ${MAX_DIMENSIONS} dimensions at most`, String(rank), at);
  const sizes = Array.from({ length: rank }, () => cursor.uint64());
  const shape = sizes.slice().reverse();
  const number = cursor.uint32();
  const type = GGUF_TYPES.get(number);
  if (type === undefined) {
    const known = [...GGUF_TYPES.values()].map((one) => one.name).join(', ');
    throw new CheckpointError({
      where: `${cursor.file} (${tensor}, offset ${at})`,
      expected: `a type of ${known}`,
      received: OTHER_GGUF_TYPES[number] ?? `type number ${number}`,
      fix: 'Use a file of another quantisation of the same model, such as Q4_K_M, Q8_0 or F16',
    });
  }
  const elements = sizeOf(shape);
  const bytes = (elements / type.elements) * type.bytes;
  // The first dimension holds whole blocks, so all rows together do.
  if (!Number.isSafeInteger(elements) || (sizes[0] ?? 1) % type.elements !== 0) {
    throw cursor.corrupt(`${tensor} with rows of whole ${type.name} blocks`, formatShape(shape), at);
  }
  return { name, type, shape, bytes, offset: cursor.uint64(), at };
}

/** Turns offsets into places and checks that the tensors lie within the file, apart from each other. */
function placeTensors(
  cursor: Cursor,
  infos: readonly TensorInfo[],
  dataStart: number,
  alignment: number,
): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  for (const { name, type, shape, bytes, offset, at } of infos) {
    const tensor = `tensor ${show(name)}`;
    if (tensors.has(name)) throw cursor.corrupt('tensors of different names', `${show(name)} twice`, at);
    if (offset % alignment !== 0) {
      throw cursor.corrupt(`${tensor} at a multiple of ${alignment} bytes`, `offset ${offset}`, at);
    }
    const start = dataStart + offset;
    const end = start + bytes;
    if (end > cursor.size) {
      throw cursor.corrupt(
        `${tensor} within the file of ${cursor.size} bytes`,
        `bytes ${start} to ${end}`,
        at,
      );
    }
    tensors.set(name, { name, type, shape, file: cursor.file, start, end });
  }
  const byPlace = [...tensors.values()].sort((a, b) => a.start - b.start || a.end - b.end);
  for (const [index, tensor] of byPlace.entries()) {
    const before = byPlace[index - 1];
    if (before === undefined || tensor.start >= before.end) continue;
    throw cursor.corrupt(
      'tensors that lie apart',
      `${show(before.name)} and ${show(tensor.name)}, which share bytes from ${tensor.start} on`,
      tensor.start,
    );
  }
  return tensors;
}

/** Bytes converted at a time: with the numbers that they become, what a read needs beyond the weights. */
const CHUNK_BYTES = 1 << 20;

/**
 * Reads one tensor into `out` as float32.
 *
 * @param out memory of exactly the tensor's size
 * @throws CheckpointError when the sizes differ or the file ends early
 */
export function readGgufTensor({ file, name, type, shape, start, end }: GgufTensor, out: Float32Array): void {
  const where = `${file} (tensor ${show(name)})`;
  if (out.length !== sizeOf(shape)) {
    throw new CheckpointError({
      where,
      expected: `${out.length} elements`,
      received: `${sizeOf(shape)} elements, shape ${formatShape(shape)}`,
      fix: 'Check that the file is complete',
    });
  }
  withFile(file, (descriptor) => {
    if (type.name === 'F32') {
      readFully(descriptor, out, start, where);
      return;
    }
    const step = Math.max(1, Math.floor(CHUNK_BYTES / type.bytes));
    const staging = new Uint8Array(Math.min(step * type.bytes, end - start));
    for (let done = 0; start + done < end; done += step * type.bytes) {
      const piece = staging.subarray(0, Math.min(staging.length, end - start - done));
      readFully(descriptor, piece, start + done, where);
      const first = (done / type.bytes) * type.elements;
      type.decode(piece, out.subarray(first, first + (piece.length / type.bytes) * type.elements));
    }
  });
}

/** Reads a file forwards through a window; never past its end. */
class Cursor {
  readonly file: string;
  readonly size: number;
  position = 0;
  readonly #descriptor: number;
  readonly #window: Uint8Array<ArrayBuffer>;
  #first = 0;
  #filled = 0;
  readonly #text = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(file: string, descriptor: number, size: number) {
    this.file = file;
    this.#descriptor = descriptor;
    this.size = size;
    this.#window = new Uint8Array(Math.min(WINDOW_BYTES, size));
  }

  /** The error for what was read at `at`. */
  corrupt(expected: string, received: string, at = this.position): CheckpointError {
    return new CheckpointError({
      where: `${this.file} (offset ${at})`,
      expected,
      received,
      fix: 'The file is damaged or no GGUF; copy or download it again',
    });
  }

  #need(bytes: number): void {
    if (bytes > this.size - this.position) {
      throw this.corrupt(`${bytes} bytes`, `the end of the file after ${this.size - this.position}`);
    }
  }

  /** The next bytes, at most as many as the window holds; they are overwritten by the next call. */
  view(bytes: number): DataView {
    this.#need(bytes);
    if (this.position < this.#first || this.position + bytes > this.#first + this.#filled) {
      this.#first = this.position;
      this.#filled = Math.min(this.#window.length, this.size - this.position);
      readFully(this.#descriptor, this.#window.subarray(0, this.#filled), this.#first, this.file);
    }
    const view = new DataView(this.#window.buffer, this.position - this.#first, bytes);
    this.position += bytes;
    return view;
  }

  /** Fills a list from the file. */
  fill(list: ArrayBufferView): void {
    this.#need(list.byteLength);
    readFully(this.#descriptor, list, this.position, this.file);
    this.position += list.byteLength;
  }

  uint32(): number {
    return this.view(4).getUint32(0, true);
  }

  uint64(): number {
    const at = this.position;
    const value = this.view(8).getBigUint64(0, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.corrupt('a number below 2^53', String(value), at);
    return Number(value);
  }

  /** A number of things of at least `least` bytes each, no more than the rest of the file can hold. */
  count(things: string, least: number): number {
    const at = this.position;
    const value = this.uint64();
    const most = Math.floor((this.size - this.position) / least);
    if (value > most)
      throw this.corrupt(`${most} ${things} at most in the rest of the file`, String(value), at);
    return value;
  }

  text(bytes: number): string {
    if (bytes <= this.#window.length) return this.#text.decode(this.view(bytes));
    const long = new Uint8Array(bytes);
    this.fill(long);
    return this.#text.decode(long);
  }

  /** A key or a tensor's name. */
  name(): string {
    const at = this.position;
    const bytes = this.count('bytes', 1);
    if (bytes === 0 || bytes > MAX_NAME_BYTES)
      throw this.corrupt(`a name of 1 to ${MAX_NAME_BYTES} bytes`, `${bytes}`, at);
    return this.text(bytes);
  }
}

const roundUp = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple;
const show = (text: string): string => JSON.stringify(text).slice(0, 120);
