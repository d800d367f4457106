/** Reading and writing safetensors files: an 8-byte header length, a JSON header, then the tensors' bytes. */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { CheckpointError } from '../core/errors.ts';
import { formatShape, type Shape, sizeOf } from '../core/shapes.ts';
import { decodeBfloat, decodeHalf, floatToBfloat, floatToHalf } from './half.ts';

/** Element types that can be read into float32, with their width in bytes. */
const widths = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1, I8: 1, BOOL: 1 } as const;
type StoredType = keyof typeof widths;
/** Element types that can be written. */
export type WritableType = 'F32' | 'F16' | 'BF16';

/** Where one tensor lies. */
export interface StoredTensor {
  readonly name: string;
  readonly file: string;
  readonly dtype: string;
  readonly shape: Shape;
  /** Bytes from the start of the file. */
  readonly start: number;
  readonly end: number;
}

const entrySchema = z.object({
  dtype: z.string(),
  shape: z.array(z.int().nonnegative()),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
});

/** Longest header that is believed: real ones are below a few MB. */
const headerLimit = 100 * 1024 * 1024;

/**
 * The tensors of one file, by name.
 *
 * @throws CheckpointError when the file is missing, short, or its header contradicts itself; the message names what
 */
export function readHeader(file: string): Map<string, StoredTensor> {
  const fail = (expected: string, received: string): never => {
    throw new CheckpointError({ where: file, expected, received, fix: 'Copy or download the file again' });
  };
  if (!existsSync(file)) return fail('a safetensors file', 'no such file');
  const handle = openSync(file, 'r');
  try {
    const { size } = fstatSync(handle);
    if (size < 8) fail('a safetensors file of at least 8 bytes', `${size} bytes`);
    const length = Number(readBytes(handle, 0, 8).readBigUInt64LE());
    if (length < 2 || length > headerLimit || 8 + length > size) {
      fail(
        `a header length that fits the file of ${size} bytes`,
        `a header of ${length} bytes: the file is cut short or is not safetensors`,
      );
    }
    let header: unknown;
    try {
      header = JSON.parse(readBytes(handle, 8, length).toString('utf8'));
    } catch (cause) {
      throw new CheckpointError({
        where: file,
        expected: 'a JSON header',
        received: `text that is not JSON (${(cause as Error).message})`,
        fix: 'Copy or download the file again',
        cause,
      });
    }
    const entries = z.record(z.string(), z.unknown()).safeParse(header);
    if (!entries.success) return fail('a JSON object as header', typeof header);
    const tensors = new Map<string, StoredTensor>();
    for (const [name, entry] of Object.entries(entries.data)) {
      if (name === '__metadata__') continue;
      tensors.set(name, readEntry(name, entry, file, 8 + length, size));
    }
    checkOverlap([...tensors.values()], file);
    return tensors;
  } finally {
    closeSync(handle);
  }
}

function readEntry(
  name: string,
  entry: unknown,
  file: string,
  dataStart: number,
  size: number,
): StoredTensor {
  const fail = (expected: string, received: string): never => {
    throw new CheckpointError({
      where: `${file} (tensor "${name}")`,
      expected,
      received,
      fix: 'Copy or download the file again',
    });
  };
  const parsed = entrySchema.safeParse(entry);
  if (!parsed.success) return fail('dtype, shape and data_offsets', JSON.stringify(entry).slice(0, 120));
  const { dtype, shape, data_offsets: offsets } = parsed.data;
  const width = (widths as Record<string, number>)[dtype];
  if (width === undefined) return fail(`a dtype of ${Object.keys(widths).join(', ')}`, dtype);
  const bytes = sizeOf(shape) * width;
  if (offsets[1] - offsets[0] !== bytes) {
    fail(`${bytes} bytes for ${dtype}${formatShape(shape)}`, `${offsets[1] - offsets[0]}`);
  }
  if (dataStart + offsets[1] > size)
    fail(
      `data within the file of ${size} bytes`,
      `data up to byte ${dataStart + offsets[1]}: the file is cut short`,
    );
  return { name, file, dtype, shape, start: dataStart + offsets[0], end: dataStart + offsets[1] };
}

function checkOverlap(tensors: readonly StoredTensor[], file: string): void {
  const sorted = [...tensors].sort((a, b) => a.start - b.start || a.end - b.end);
  for (let i = 1; i < sorted.length; i++) {
    if (sorted[i]!.start < sorted[i - 1]!.end) {
      throw new CheckpointError({
        where: file,
        expected: 'tensors that do not overlap',
        received: `"${sorted[i - 1]!.name}" and "${sorted[i]!.name}" share bytes`,
        fix: 'Copy or download the file again',
      });
    }
  }
}

/** Bytes read at once: small enough that loading needs little more memory than the weights. */
const chunkBytes = 8 * 1024 * 1024;

/**
 * Reads one tensor into `out` as float32, by chunks.
 *
 * @param out memory of exactly the tensor's size
 */
export function readTensor(tensor: StoredTensor, out: Float32Array): void {
  const size = sizeOf(tensor.shape);
  if (out.length !== size) {
    throw new CheckpointError({
      where: `${tensor.file} (tensor "${tensor.name}")`,
      expected: `${out.length} elements`,
      received: `${size} elements, shape ${formatShape(tensor.shape)}`,
      fix: 'Check that config.json belongs to these weights',
    });
  }
  const width = widths[tensor.dtype as StoredType];
  const handle = openSync(tensor.file, 'r');
  try {
    const step = chunkBytes / width;
    for (let first = 0; first < size; first += step) {
      const count = Math.min(step, size - first);
      const bytes = readBytes(handle, tensor.start + first * width, count * width);
      decode(tensor.dtype as StoredType, bytes, out.subarray(first, first + count));
    }
  } finally {
    closeSync(handle);
  }
}

/** The bytes were read into fresh memory, so views of any element type are aligned. */
function decode(dtype: StoredType, bytes: Buffer, out: Float32Array): void {
  const { buffer, byteOffset } = bytes;
  switch (dtype) {
    case 'F32':
      return out.set(new Float32Array(buffer, byteOffset, out.length));
    case 'F64':
      return out.set(new Float64Array(buffer, byteOffset, out.length));
    case 'F16':
      return decodeHalf(new Uint16Array(buffer, byteOffset, out.length), out);
    case 'BF16':
      return decodeBfloat(new Uint16Array(buffer, byteOffset, out.length), out);
    case 'I64':
      return out.set(Float32Array.from(new BigInt64Array(buffer, byteOffset, out.length), Number));
    case 'I32':
      return out.set(new Int32Array(buffer, byteOffset, out.length));
    case 'I8':
      return out.set(new Int8Array(buffer, byteOffset, out.length));
    case 'U8':
    case 'BOOL':
      return out.set(new Uint8Array(buffer, byteOffset, out.length));
  }
}

function readBytes(handle: number, position: number, length: number): Buffer {
  const buffer = Buffer.from(new ArrayBuffer(length));
  let read = 0;
  while (read < length) {
    const count = readSync(handle, buffer, read, length - read, position + read);
    if (count === 0) break;
    read += count;
  }
  return buffer;
}

/** The tensors of a folder: `model.safetensors`, or the shards that `model.safetensors.index.json` lists. */
export function readFolderHeader(folder: string): Map<string, StoredTensor> {
  const single = join(folder, 'model.safetensors');
  const index = join(folder, 'model.safetensors.index.json');
  if (existsSync(single)) return readHeader(single);
  if (!existsSync(index)) {
    throw new CheckpointError({
      where: folder,
      expected: 'model.safetensors or model.safetensors.index.json',
      received: 'neither',
      fix: 'Name a Hugging Face model folder with safetensors weights (pickle files are not read)',
    });
  }
  let map: Record<string, string>;
  try {
    map = z
      .object({ weight_map: z.record(z.string(), z.string()) })
      .parse(JSON.parse(readFileSync(index, 'utf8'))).weight_map;
  } catch (cause) {
    throw new CheckpointError({
      where: index,
      expected: 'a JSON object with weight_map',
      received: 'something else',
      fix: 'Download the file again',
      cause,
    });
  }
  const tensors = new Map<string, StoredTensor>();
  for (const file of new Set(Object.values(map))) {
    for (const [name, tensor] of readHeader(join(folder, file))) {
      if (map[name] === file) tensors.set(name, tensor);
    }
  }
  for (const name of Object.keys(map)) {
    if (!tensors.has(name)) {
      throw new CheckpointError({
        where: index,
        expected: `tensor "${name}" in ${map[name]}`,
        received: 'no such tensor',
        fix: 'Download the shards again',
      });
    }
  }
  return tensors;
}

export interface TensorToWrite {
  readonly name: string;
  readonly shape: Shape;
  readonly data: Float32Array;
}

/**
 * Writes a safetensors file under a temporary name, then renames it: a reader sees the old file or the new, never half.
 *
 * @param dtype stored element type; F16 and BF16 round to nearest, ties to even
 */
export function writeSafetensors(
  file: string,
  tensors: readonly TensorToWrite[],
  {
    dtype = 'F32',
    metadata = { format: 'pt' },
  }: { readonly dtype?: WritableType; readonly metadata?: Record<string, string> } = {},
): void {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const { name, shape, data } of tensors) {
    const bytes = data.length * widths[dtype];
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = JSON.stringify(header);
  // Spaces bring the data to a multiple of 8 bytes, as other writers do.
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8, ' '), 'utf8');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const temporary = join(dirname(file), `.${basename(file)}.${process.pid}.partial`);
  const handle = openSync(temporary, 'w');
  try {
    try {
      writeAll(handle, length);
      writeAll(handle, text);
      for (const { data } of tensors) {
        for (let start = 0; start < data.length; start += chunkBytes / 4) {
          writeAll(handle, encode(data.subarray(start, start + chunkBytes / 4), dtype));
        }
      }
    } finally {
      closeSync(handle);
    }
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function encode(data: Float32Array, dtype: WritableType): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const convert = dtype === 'F16' ? floatToHalf : floatToBfloat;
  return new Uint8Array(Uint16Array.from(data, convert).buffer);
}

function writeAll(handle: number, bytes: Uint8Array): void {
  let written = 0;
  while (written < bytes.length) written += writeSync(handle, bytes, written, bytes.length - written);
}
